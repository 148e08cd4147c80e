"""A bin learns its own chamber: a linear head on the frozen embedding, from pictures taken there.

`samples` keeps the pictures, `folder` reads them from disk, `fit` solves for the head, `lesson`
judges it by cross-validation, `active` puts it in force and takes it back. The network itself is
never changed, and a bin that was taught nothing loads none of this.
"""
