"""H.264 as encoders write it (Annex B) → as frames of the core and MP4 carry it: lengths, and a record."""

from __future__ import annotations

import re

_START = re.compile(rb"\x00\x00\x01")
_SPS, _PPS, _DELIMITER = 7, 8, 9
_HIGH_PROFILES = {100, 110, 122, 144}


def units_of_annex_b(data: bytes) -> list[bytes]:
    """The NAL units between start codes, without the zeros before a longer start code."""
    starts = [match.end() for match in _START.finditer(data)]
    ends = [start - 3 for start in starts[1:]] + [len(data)]
    units = [data[start:end].rstrip(b"\0") for start, end in zip(starts, ends, strict=True)]
    return [unit for unit in units if unit]


def lengths_of_annex_b(data: bytes) -> bytes:
    """A picture: its units behind their lengths, without parameter sets and delimiters."""
    units = [u for u in units_of_annex_b(data) if u[0] & 0x1F not in {_SPS, _PPS, _DELIMITER}]
    return b"".join(len(unit).to_bytes(4) + unit for unit in units)


def record_of_annex_b(data: bytes) -> bytes:
    """The `avcC` of parameter sets (ISO/IEC 14496-15 §5.3.3.1)."""
    units = units_of_annex_b(data)
    sps = [unit for unit in units if unit[0] & 0x1F == _SPS]
    pps = [unit for unit in units if unit[0] & 0x1F == _PPS]
    if not sps or not pps:
        raise ValueError("the encoder gave no parameter sets")
    record = bytearray([1, *sps[0][1:4], 0xFF, 0xE0 | len(sps)])
    for unit in sps:
        record += len(unit).to_bytes(2) + unit
    record.append(len(pps))
    for unit in pps:
        record += len(unit).to_bytes(2) + unit
    if sps[0][1] in _HIGH_PROFILES:
        # 4:2:0, 8 bits, nothing more: what our encoders make.
        record += bytes([0xFC | 1, 0xF8, 0xF8, 0])
    return bytes(record)
