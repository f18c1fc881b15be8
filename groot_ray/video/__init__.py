"""Video files: clips, the packets that frames need, decoding, crop and resize, encoding, single-frame reads.

May be imported by `dataset` and above; it imports `storage` and `errors`, and knows files and pixels only.
"""
