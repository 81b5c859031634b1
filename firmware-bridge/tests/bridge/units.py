"""Modbus units on a terminal, by pymodbus: units.py TTY PLAN.

PLAN is "types": one unit with every type in every order; "faulty": twelve, of which the 3rd is dead, the 6th refuses, the
8th answers too little and the 11th with a wrong checksum; "late": twelve, of which each answers one time in thirty 0.3 to
1.5 s late, until a line comes on standard input. Each request is told on standard output: seconds, unit, number of the
request, milliseconds until its answer. Registers 0 to 2 are the unit and that number, so that no two answers are alike.
"""

import asyncio
import os
import random
import struct
import sys
import time

from pymodbus import FramerType
from pymodbus.constants import ExcCodes
from pymodbus.framer import FramerRTU
from pymodbus.server import StartAsyncSerialServer
from pymodbus.simulator import DataType, SimData, SimDevice

TTY, PLAN = sys.argv[1:3]
DEAD, REFUSES, SHORT, DAMAGED = 3, 6, 8, 11

terminal = os.open(TTY, os.O_WRONLY | os.O_NOCTTY)
number = 0
is_well = False


def say(*words):
    print(*words, flush=True)


def words(form, value, order):
    """The value's bytes in this order, as registers."""
    packed = struct.pack(">" + form, value)
    moved = bytes(packed[ord(letter) - ord("A")] for letter in order)
    return list(struct.unpack(f">{len(moved) // 2}H", moved))


def seal(body):
    return body + FramerRTU.compute_CRC(body).to_bytes(2, "big")


def types():
    """A unit whose registers hold every type, those in the plain order as pymodbus packs them."""
    plain = [
        SimData(0, values=65534, datatype=DataType.UINT16),
        SimData(1, values=-2, datatype=DataType.INT16),
        SimData(2, values=287454020, datatype=DataType.UINT32),
        SimData(4, values=-7, datatype=DataType.INT32),
        SimData(6, values=1234605616436508552, datatype=DataType.UINT64),
        SimData(10, values=-9, datatype=DataType.INT64),
        SimData(14, values=21.6, datatype=DataType.FLOAT32),
        SimData(16, values=-0.1, datatype=DataType.FLOAT64),
        SimData(20, values="Meter 7A", datatype=DataType.STRING),
    ]
    moved = []
    for form, value, orders in [
        ("H", 65534, ["BA"]),
        ("I", 287454020, ["CDAB", "BADC", "DCBA"]),
        ("f", 21.6, ["CDAB", "BADC", "DCBA"]),
        ("Q", 1234605616436508552, ["GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
        ("d", -0.1, ["GHEFCDAB", "BADCFEHG", "HGFEDCBA"]),
    ]:
        for order in orders:
            moved += words(form, value, order)
    at_100 = [SimData(100, values=moved, datatype=DataType.REGISTERS)]
    bits = [SimData(0, values=[True, False, True, True], datatype=DataType.BITS)]
    inverse = [SimData(0, values=[False, True], datatype=DataType.BITS)]
    return [SimDevice(7, simdata=(bits, inverse, plain, at_100))]


async def fresh(unit, function, start, address, count, registers, values):
    """Puts the number of this request into the registers."""
    global number
    number += 1
    if PLAN == "faulty" and unit == REFUSES:
        return ExcCodes.DEVICE_FAILURE
    for at, value in enumerate([unit, number >> 16, number & 0xFFFF]):
        registers[address - start + at] = value


def numbered(unit):
    async def action(*arguments):
        return await fresh(unit, *arguments)

    holding = [SimData(0, count=3, values=0, datatype=DataType.REGISTERS)]
    other = [SimData(0, count=3, values=0, datatype=DataType.REGISTERS)]
    bits = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    more = [SimData(0, count=16, values=False, datatype=DataType.BITS)]
    return SimDevice(unit, simdata=(bits, more, holding, other), action=action)


def sent(sending, data):
    """Spoils and delays what is sent."""
    if not sending or PLAN == "types":
        return data
    unit, delay = data[0], 0
    if PLAN == "faulty":
        if unit == DEAD:
            data = b""
        elif unit == SHORT:
            data = seal(data[:2] + bytes([2]) + data[3:5])
        elif unit == DAMAGED:
            data = data[:-1] + bytes([data[-1] ^ 0x10])
    elif not is_well and random.random() < 1 / 30:
        delay = random.uniform(0.3, 1.5)
    say(f"{time.monotonic():.4f}", unit, number, round(delay * 1000))
    if delay:
        asyncio.get_running_loop().call_later(delay, os.write, terminal, data)
        return b""
    return data


def wait_for_word():
    global is_well
    sys.stdin.readline()
    is_well = True


async def main():
    units = types() if PLAN == "types" else [numbered(unit) for unit in range(1, 13)]
    random.seed(1)
    loop = asyncio.get_running_loop()
    loop.run_in_executor(None, wait_for_word)
    loop.call_later(0.2, say, "ready")
    await StartAsyncSerialServer(
        context=units, framer=FramerType.RTU, port=TTY, baudrate=9600, trace_packet=sent
    )


asyncio.run(main())
