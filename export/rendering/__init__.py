"""Rendered pictures: the demo reel, and a studio of training items. Needs the extra `reel`."""
