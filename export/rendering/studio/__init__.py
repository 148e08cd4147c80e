"""The studio: rubbish of random make in random sorting chambers, rendered for training.

Photographs of waste on a white table do not tell a network what a clear bottle looks like in a
dark, painted, lamp-lit chamber. The studio builds such items from the meshes, the textures and the
materials of `export.rendering`, every picture another item in another chamber. In: a seed and
a count. Out: pictures in class folders, their masks, the empty chambers and a table. It reads no
photograph and copies no real chamber.

Run `python -m export studio --out DIR --count N` (needs the `reel` extra, see the reel).
"""
