"""The reel: the project's own demo footage of a sorting chamber, rendered with Mitsuba 3.

A chamber, a lamp and a camera that never move; eighteen pieces of rubbish built from numpy meshes
and drawn textures; an arm that throws things in. In: a seed. Out: JPEG stills, item masks, their
truth and two sequence scripts for the replay camera. It never reads a photograph or a downloaded
model, so everything it writes is the project's own.

Run `python -m export reel --out firmware_config/reel` (needs `mitsuba`, numpy, OpenCV and
PyYAML).

Dr.Jit 1.5 aborted where libLLVM 14 and 15 were installed; with libLLVM 19 it renders. Name that one
in `DRJIT_LIBLLVM_PATH` where several are present. Without any libLLVM it renders slowly.
"""
