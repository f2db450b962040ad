#!/usr/bin/env python3
"""Puts an image where LVM says that a logical volume is: `lvs` output in, one segment a line (type, first extent, extents, ranges, stripe
bytes). No device mapper is needed, and none of our code.

  place.py IMAGE EXTENT_BYTES START_BYTES DEVICE=FILE... <SEGMENTS
"""

import sys


def main():
    image, extent, start = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
    files = dict(pair.split("=", 1) for pair in sys.argv[4:])
    with open(image, "rb") as source:
        for line in sys.stdin:
            fields = line.split()
            first, count = int(fields[1]), int(fields[2])
            ranges, stripe = fields[3:-1], int(fields[-1].rstrip("B"))
            targets = []
            for one in ranges:
                device, extents = one.rsplit(":", 1)
                targets.append((open(files[device], "r+b"), start + int(extents.split("-")[0]) * extent))
            stripe = stripe or count * extent
            length = count * extent
            for number in range(length // stripe):
                source.seek(first * extent + number * stripe)
                file, at = targets[number % len(targets)]
                file.seek(at + number // len(targets) * stripe)
                file.write(source.read(stripe))
            for file, _ in targets:
                file.close()


main()
