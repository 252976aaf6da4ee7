#!/usr/bin/env python3
"""Computes the test vectors of the key-space services without the engine.

MD5 comes from hashlib, CRC-16/XMODEM from binascii.crc_hqx, rapidhash v3 from the implementation below, which follows
the published algorithm. Writes atomkv-engine/tests/vectors/*.tsv: key in hexadecimal, then the results; with
--check compares them instead.
"""

import binascii
import hashlib
import pathlib
import random
import sys

MASK = (1 << 64) - 1
SECRETS = [
    0x2D358DCCAA6C78A5, 0x8BB84B93962EACC9, 0x4B33A62ED433D4A3, 0x4D5A2DA51DE1AA47,
    0xA0761D6478BD642F, 0xE7037ED1A0B428DB, 0x90ED1765281C388C,
]


def mix(a, b):
    product = a * b
    return (product & MASK) ^ (product >> 64)


def premix(seed, index):
    seed ^= mix(seed ^ SECRETS[2], SECRETS[index])
    for field, bit in ((0xFFFF << 48, 63), (0xFFFF << 24, 31), (0xFFFF, 0)):
        if seed & field == 0:
            seed |= 1 << bit
    return seed


def rapidhash_v3(key, seed):
    seed = premix(seed, 0)
    secrets = [premix(seed, 0)]
    for index in range(1, 7):
        secrets.append(premix(secrets[-1], index))

    def word(at, size=8):
        return int.from_bytes(key[at:at + size], "little")

    length = len(key)
    if length <= 16:
        a = b = 0
        if length >= 4:
            seed ^= length
            size = 8 if length >= 8 else 4
            a, b = word(0, size), word(length - size, size)
        elif length > 0:
            a, b = key[0] << 45 | key[-1], key[length >> 1]
        remainder = length
    else:
        start = 0
        if length > 112:
            lanes = [seed] * 7
            while length - start > 112:
                for lane in range(7):
                    at = start + lane * 16
                    lanes[lane] = mix(word(at) ^ secrets[lane], word(at + 8) ^ lanes[lane])
                start += 112
            seed = 0
            for lane in lanes:
                seed ^= lane
        remainder = length - start
        for step, secret in zip(range(0, 96, 16), (2, 2, 1, 1, 2, 1)):
            if remainder > step + 16:
                at = start + step
                seed = mix(word(at) ^ secrets[secret], word(at + 8) ^ seed)
        a, b = word(length - 16) ^ remainder, word(length - 8)
    product = (a ^ secrets[1]) * (b ^ seed)
    a, b = product & MASK, product >> 64
    return mix(a ^ 0xAAAAAAAAAAAAAAAA, b ^ secrets[1] ^ remainder)


def redis_slot(key):
    start = key.find(b"{")
    if start >= 0:
        end = key.find(b"}", start + 1)
        if end > start + 1:
            key = key[start + 1:end]
    return binascii.crc_hqx(key, 0) % 16384


def key_space_v1_page(key, pages):
    number = int(hashlib.md5(key).hexdigest().upper()[2:10], 16)
    if number >= 1 << 31:
        number -= 1 << 32
    return abs(number) % pages + 1


def main():
    rng = random.Random(20)
    folder = pathlib.Path(__file__).resolve().parent.parent / "atomkv-engine" / "tests" / "vectors"
    folder.mkdir(parents=True, exist_ok=True)
    alphabet = b"abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-:"
    names = [bytes(rng.choice(alphabet) for _ in range(rng.randint(1, 50))) for _ in range(60)]
    noise = [rng.randbytes(length) for length in [*range(1, 130), 223, 224, 225, 226, 500, 4096]]
    tags = [b"foo", b"{foo}bar", b"a{foo}b{bar}", b"{}foo", b"a{}{foo}", b"{foo", b"foo}", b"{{foo}}", b"123456789"]

    redis = ["# key\tslot\n"]
    redis += [f"{key.hex()}\t{redis_slot(key)}\n" for key in tags + names + noise[:60]]
    key_space = ["# key\tpages\tpage\n"]
    for key in names:
        key_space += [f"{key.hex()}\t{pages}\t{key_space_v1_page(key, pages)}\n" for pages in (1, 7, 16, 16384)]
    rapidhash = ["# key\tseed\thash\n"]
    for key in names[:20] + noise:
        seed = rng.choice([0, 1, MASK, rng.getrandbits(64)])
        rapidhash.append(f"{key.hex()}\t{seed}\t{rapidhash_v3(key, seed):016x}\n")

    files = {"redis_slots.tsv": redis, "key_space_v1.tsv": key_space, "rapidhash_v3.tsv": rapidhash}
    for name, lines in files.items():
        if "--check" not in sys.argv:
            (folder / name).write_bytes("".join(lines).encode())
        elif (folder / name).read_bytes() != "".join(lines).encode():
            sys.exit(f"{folder / name} is not what this script computes")


if __name__ == "__main__":
    main()
