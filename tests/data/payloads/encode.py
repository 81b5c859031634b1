#!/usr/bin/env python3
"""Writes cbor.jsonl, messagepack.jsonl and sparkplug.jsonl: messages as real encoders make them.

    python3 -m venv venv && venv/bin/pip install cbor2==6.3.0 msgpack==1.2.4 pysparkplug==0.6.1
    venv/bin/python encode.py

A line is {"name": …, "hex": the message, "json": what Tidemill reads}: moments as milliseconds, bytes in
base64, no number where there is none. Messages of Sparkplug B are those of one node and device in their
order, each with its topic; "rows" is what `list = "rows"` reads, one a metric.
"""
import base64
import datetime
import decimal
import fractions
import json
import pathlib
import uuid

import cbor2
import msgpack
from pysparkplug._protobuf import sparkplug_b_pb2 as spb

HERE = pathlib.Path(__file__).resolve().parent
MOMENT = datetime.datetime(2024, 5, 1, 8, 30, 0, 250000, tzinfo=datetime.timezone.utc)
MOMENT_MS = 1714552200250


def lines(name, rows):
    text = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
    (HERE / name).write_text(text)


def b64(data):
    return base64.b64encode(data).decode()


READING = {"device": "d017", "ts": 1700000000123, "seq": 1000000042, "temperature": 41.37, "humidity": 55.2}
COMMON = [
    ("a reading", READING, READING),
    ("nested", {"a": {"b": [1, {"c": 7}], "x/y": None}, "ok": True, "no": False}, None),
    ("whole numbers", [0, 23, 24, 255, 256, 65535, 65536, 2**32, 2**63 - 1, -1, -24, -25, -256, -257, -(2**63)], None),
    ("the largest whole number", {"n": 2**64 - 1}, {"n": 2**64 - 1}),
    ("floats", [0.5, -1.5, 1e300, 21.7], None),
    ("no numbers", [float("nan"), float("inf"), float("-inf")], [None, None, None]),
    ("text", {"s": "Grüße 中国", "empty": ""}, None),
    ("bytes", {"b": b"\x00\xe6\x02"}, {"b": b64(b"\x00\xe6\x02")}),
    ("names that are no text", {1: "one", -2: "two", b"\xff": 4}, {"1": "one", "-2": "two", "/w==": 4}),
    ("a list at the top", [{"a": 1}, {"a": 2}, [3]], None),
    ("a bare number", 21.5, None),
    ("a moment", {"at": MOMENT}, {"at": MOMENT_MS}),
    ("long", {"l": list(range(300)), "s": "x" * 300, "m": {str(n): n for n in range(300)}}, None),
]

def expected(value, given):
    return value if given is None else given


def cbor():
    rows = []

    def add(name, message, value):
        rows.append({"name": name, "hex": message.hex(), "json": value})

    for name, value, given in COMMON:
        add(name, cbor2.dumps(value), expected(value, given))
    add("a moment in seconds", cbor2.dumps({"at": MOMENT}, datetime_as_timestamp=True), {"at": MOMENT_MS})
    add("canonical, with short floats", cbor2.dumps({"t": 21.5, "h": 0.1}, canonical=True), {"h": 0.1, "t": 21.5})
    add("a decimal", cbor2.dumps(decimal.Decimal("273.15")), 273.15)
    add("large whole numbers", cbor2.dumps([2**64, -(2**64) - 1, 2**200]), [2.0**64, -(2.0**64), 2.0**200])
    add("a UUID", cbor2.dumps(uuid.UUID("12345678-1234-5678-1234-567812345678")), "12345678-1234-5678-1234-567812345678")
    add("a set", cbor2.dumps({7}), [7])
    add("undefined", cbor2.dumps([cbor2.undefined]), [None])
    add("a fraction", cbor2.dumps(fractions.Fraction(2, 5)), [2, 5])
    add("another tag", cbor2.dumps(cbor2.CBORTag(9999, {"a": 1})), {"a": 1})
    add("a tag for CBOR itself", cbor2.dumps(cbor2.CBORTag(55799, [1])), [1])
    # Written by hand: this encoder does not make them.
    for name, message, value in [
        ("pieces of bytes", "5f42010243030405ff", b64(b"\x01\x02\x03\x04\x05")),
        ("pieces of text", "7f657374726561646d696e67ff", "streaming"),
        ("a list and an object up to a break", "bf61610161629f0203ffff", {"a": 1, "b": [2, 3]}),
        ("a name that comes twice", "a3616101616202616103", {"b": 2, "a": 3}),
        ("a float of two powers", "c5822003", 1.5),
        ("a half float", "f93e00", 1.5),
        ("nothing at all in a list", "80", []),
    ]:
        add(name, bytes.fromhex(message), value)
    lines("cbor.jsonl", rows)


def messagepack():
    rows = []

    def add(name, message, value):
        rows.append({"name": name, "hex": message.hex(), "json": value})

    for name, value, given in COMMON:
        add(name, msgpack.packb(value, datetime=True), expected(value, given))
    add("short floats", msgpack.packb([0.5, -1.5], use_single_float=True), [0.5, -1.5])
    for seconds, nanoseconds in [(1714552200, 0), (1714552200, 250_000_000), (-1, 500_000_000), (2**34, 1)]:
        moment = msgpack.Timestamp(seconds, nanoseconds)
        ms = seconds * 1000 + nanoseconds // 1_000_000
        add(f"a moment of {seconds} and {nanoseconds}", msgpack.packb(moment), ms)
    for size in [1, 2, 4, 8, 16, 3, 300]:
        data = bytes(range(256)) * (size // 256 + 1)
        add(f"an extension of {size}", msgpack.packb(msgpack.ExtType(7, data[:size])), b64(data[:size]))
    for size in [31, 32, 256]:
        add(f"a text of {size}", msgpack.packb("y" * size), "y" * size)
    add("a name that comes twice", bytes.fromhex("83a16101a16202a16103"), {"b": 2, "a": 3})
    lines("messagepack.jsonl", rows)


def metric(payload, value=None, *, of=None, name=None, alias=None, kind=None, **more):
    found = payload.metrics.add()
    if name is not None:
        found.name = name
    if alias is not None:
        found.alias = alias
    if kind is not None:
        found.datatype = getattr(spb, kind)
    if of is not None:
        setattr(found, of, value)
    for key, given in more.items():
        setattr(found, key, given)
    return found


def message(seq, at=MOMENT_MS):
    payload = spb.Payload()
    payload.timestamp = at
    payload.seq = seq
    return payload


def sparkplug():
    rows = []

    def add(name, topic, payload, value, split=None):
        line = {"name": name, "topic": topic, "hex": payload.SerializeToString().hex(), "json": value}
        if split is not None:
            line["rows"] = split
        rows.append(line)

    def about(seq, **more):
        return {"timestamp": MOMENT_MS, "seq": seq, **more}

    birth = message(0)
    metric(birth, 3, of="long_value", name="bdSeq", kind="Int64")
    metric(birth, False, of="boolean_value", name="Node Control/Rebirth", kind="Boolean", alias=0)
    metric(birth, 21.5, of="double_value", name="Inputs/temp", kind="Double", alias=7)
    metric(birth, 2**32 - 5, of="int_value", name="level", kind="Int32", alias=8)
    metric(birth, 2**16 - 2, of="int_value", name="trim", kind="Int16")
    add(
        "a birth of a node", "spBv1.0/G1/NBIRTH/N1", birth,
        {"bdSeq": 3, "Node Control/Rebirth": False, "Inputs/temp": 21.5, "level": -5, "trim": -2, "sparkplug": about(0)},
    )

    data = message(1)
    metric(data, 22.25, of="double_value", alias=7)
    metric(data, 2**32 - 6, of="int_value", alias=8)
    metric(data, 2**16 - 3, of="int_value", name="trim")
    add(
        "data by aliases", "spBv1.0/G1/NDATA/N1", data,
        {"Inputs/temp": 22.25, "level": -6, "trim": -3, "sparkplug": about(1)},
        [
            {"name": "Inputs/temp", "value": 22.25, "type": "Double", "timestamp": MOMENT_MS, "seq": 1},
            {"name": "level", "value": -6, "type": "Int32", "timestamp": MOMENT_MS, "seq": 1},
            {"name": "trim", "value": -3, "type": "Int16", "timestamp": MOMENT_MS, "seq": 1},
        ],
    )

    birth = message(2)
    kinds = [
        ("int8", "Int8", "int_value", 2**8 - 1, -1), ("int8 in 32 bits", "Int8", "int_value", 2**32 - 1, -1),
        ("int64", "Int64", "long_value", 2**64 - 9, -9), ("uint8", "UInt8", "int_value", 255, 255),
        ("uint16", "UInt16", "int_value", 65535, 65535), ("uint32", "UInt32", "int_value", 2**32 - 1, 2**32 - 1),
        ("uint32 in 64 bits", "UInt32", "long_value", 2**32 - 1, 2**32 - 1),
        ("uint64", "UInt64", "long_value", 2**64 - 1, 2**64 - 1), ("float", "Float", "float_value", 0.25, 0.25),
        ("no number", "Double", "double_value", float("nan"), None), ("boolean", "Boolean", "boolean_value", True, True),
        ("string", "String", "string_value", "on", "on"), ("text", "Text", "string_value", "Grüße", "Grüße"),
        ("uuid", "UUID", "string_value", "12345678-1234-5678-1234-567812345678", "12345678-1234-5678-1234-567812345678"),
        ("moment", "DateTime", "long_value", MOMENT_MS, MOMENT_MS), ("bytes", "Bytes", "bytes_value", b"\x00\xff", b64(b"\x00\xff")),
        ("file", "File", "bytes_value", b"hi", b64(b"hi")),
        ("int8s", "Int8Array", "bytes_value", b"\xff\x01", [-1, 1]),
        ("int16s", "Int16Array", "bytes_value", b"\xfe\xff\x02\x00", [-2, 2]),
        ("uint32s", "UInt32Array", "bytes_value", b"\xff\xff\xff\xff", [2**32 - 1]),
        ("floats", "FloatArray", "bytes_value", b"\x00\x00\xac\x41", [21.5]),
        ("booleans", "BooleanArray", "bytes_value", b"\x0a\x00\x00\x00\xa0\x40", [True, False, True] + [False] * 6 + [True]),
        ("strings", "StringArray", "bytes_value", b"a\x00\x00bc\x00", ["a", "", "bc"]),
        ("moments", "DateTimeArray", "bytes_value", MOMENT_MS.to_bytes(8, "little"), [MOMENT_MS]),
    ]
    value = {}
    for place, (name, kind, of, given, read) in enumerate(kinds):
        metric(birth, given, of=of, name=name, kind=kind, alias=100 + place)
        value[name] = read
    metric(birth, True, of="is_null", name="null", kind="Int32")
    value["null"] = None
    table = metric(birth, name="table", kind="DataSet").dataset_value
    table.num_of_columns = 2
    table.columns.extend(["name", "level"])
    table.types.extend([spb.String, spb.Int8])
    for name, level in [("a", 3), ("b", 2**8 - 4)]:
        row = table.rows.add()
        row.elements.add().string_value = name
        row.elements.add().int_value = level
    value["table"] = [{"name": "a", "level": 3}, {"name": "b", "level": -4}]
    motor = metric(birth, name="motor", kind="Template").template_value
    motor.template_ref = "Motor"
    motor.is_definition = False
    inner = motor.metrics.add()
    inner.name, inner.datatype, inner.int_value = "rpm", spb.Int32, 1450
    parameter = motor.parameters.add()
    parameter.name, parameter.type, parameter.string_value = "maker", spb.String, "ACME"
    value["motor"] = {"template": "Motor", "definition": False, "metrics": {"rpm": 1450}, "parameters": {"maker": "ACME"}}
    value["sparkplug"] = about(2)
    add("a birth of a device with a metric of each type", "spBv1.0/G1/DBIRTH/N1/D1", birth, value)

    data = message(3)
    metric(data, 20, of="int_value", alias=100, timestamp=MOMENT_MS - 2000, is_historical=True)
    metric(data, 2**64 - 8, of="long_value", alias=102, timestamp=MOMENT_MS - 1000)
    metric(data, True, of="is_null", alias=114)
    add(
        "data of a device, some of it historical", "spBv1.0/G1/DDATA/N1/D1", data,
        {"int8": 20, "int64": -8, "moment": None, "sparkplug": about(3, historical=["int8"])},
        [
            {"name": "int8", "value": 20, "type": "Int8", "timestamp": MOMENT_MS - 2000, "historical": True, "seq": 3},
            {"name": "int64", "value": -8, "type": "Int64", "timestamp": MOMENT_MS - 1000, "seq": 3},
            {"name": "moment", "value": None, "type": "DateTime", "timestamp": MOMENT_MS, "seq": 3},
        ],
    )

    data = message(4)
    for value_of in [1.5, 2.5]:
        metric(data, value_of, of="double_value", name="fast", kind="Double")
    add(
        "a metric that comes twice", "spBv1.0/G1/DDATA/N1/D1", data,
        {"fast": 2.5, "sparkplug": about(4)},
        [
            {"name": "fast", "value": value_of, "type": "Double", "timestamp": MOMENT_MS, "seq": 4}
            for value_of in [1.5, 2.5]
        ],
    )

    birth = message(5)
    reading = [
        ("device", "String", "string_value"), ("ts", "Int64", "long_value"), ("seq", "Int64", "long_value"),
        ("temperature", "Double", "double_value"), ("humidity", "Double", "double_value"),
    ]
    for place, (name, kind, of) in enumerate(reading):
        metric(birth, READING[name], of=of, name=name, kind=kind, alias=200 + place)
    add("the birth of a reading", "spBv1.0/G1/DBIRTH/N1/D2", birth, READING | {"sparkplug": about(5)})
    for name, named in [("a reading", True), ("a reading by aliases", False)]:
        data = message(6)
        for place, (column, kind, of) in enumerate(reading):
            known = {"name": column, "kind": kind} if named else {"alias": 200 + place}
            metric(data, READING[column], of=of, **known)
        add(name, "spBv1.0/G1/DDATA/N1/D2", data, READING | {"sparkplug": about(6)})

    death = spb.Payload()
    metric(death, 3, of="long_value", name="bdSeq", kind="Int64")
    add("the death of a node", "spBv1.0/G1/NDEATH/N1", death, {"bdSeq": 3, "sparkplug": {}})
    lines("sparkplug.jsonl", rows)


cbor()
messagepack()
sparkplug()
