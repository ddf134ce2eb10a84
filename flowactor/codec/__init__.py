"""How facts and values become bytes, always the same ones.

``records`` writes the engine's own facts (positional, tagged, compact); ``payloads`` writes the
values of users (by field name, strict, readable from other languages); ``wire`` is the cattrs
converter beneath ``payloads``. The two are apart because they change for different reasons: a
record's layout is ours to version, a payload's is the user's class.
"""

from flowactor.codec.payloads import (
    decode_arguments,
    decode_payload,
    encode_arguments,
    encode_payload,
    payload_from_json,
    payload_to_json,
)

__all__ = [
    "decode_arguments",
    "decode_payload",
    "encode_arguments",
    "encode_payload",
    "payload_from_json",
    "payload_to_json",
]
