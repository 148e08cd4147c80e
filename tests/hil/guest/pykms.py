"""What picamera2 imports of kms++ when it is loaded; only a preview on a screen would use more."""


class _AnyFormat:
    """Any name is a format."""

    def __getattr__(self, name):
        return name


PixelFormat = _AnyFormat()
