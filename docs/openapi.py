#!/usr/bin/python3
"""Turn docs/openapi.yaml into what GET /openapi.json answers.

usage: openapi.py json FILE.yaml    prints the JSON document
       openapi.py c FILE.yaml       prints the same bytes as a C source (orchestrator/routes/openapi.h)

The same file gives the same bytes: members stay in their order, there is no white space, all is ASCII. What YAML knows and JSON does not
(dates, keys that are no strings, a key twice) is refused instead of being turned into something.
"""
import json
import sys

import yaml


class Loader(yaml.SafeLoader):
    """SafeLoader without the surprises."""

    def construct_mapping(self, node, deep=False):
        keys = [self.construct_object(key, deep=True) for key, _ in node.value]
        for i, key in enumerate(keys):
            if not isinstance(key, str):
                raise SystemExit(f"{node.start_mark}: key {key!r} is no string")
            if key in keys[:i]:
                raise SystemExit(f"{node.start_mark}: key {key!r} is there twice")
        return super().construct_mapping(node, deep)


def document(path):
    with open(path, encoding="utf-8") as file:
        return json.dumps(yaml.load(file, Loader), ensure_ascii=True, allow_nan=False, separators=(",", ":"))


def c_source(text):
    print('#include "orchestrator/routes/openapi.h"\n\nconst char openapi_json[] = {')
    data = text.encode("ascii")
    for at in range(0, len(data), 24):
        print(",".join(str(byte) for byte in data[at:at + 24]) + ",")
    print("};\nconst size_t openapi_json_len = sizeof(openapi_json);")


def main():
    if len(sys.argv) != 3 or sys.argv[1] not in ("json", "c"):
        raise SystemExit(__doc__)
    text = document(sys.argv[2])
    if sys.argv[1] == "c":
        c_source(text)
    else:
        sys.stdout.write(text)


main()
