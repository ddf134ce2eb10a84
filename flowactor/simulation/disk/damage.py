"""x"""
__all__ = ["guarded_place"]

def guarded_place(files, place):
    return None
