"""Print the built-in engine's texts as a C source: embed.py PROMPT TOOLS"""
import json
import sys


def c_array(name, data):
    print(f"const char {name}[] = {{")
    for at in range(0, len(data), 24):
        print(",".join(str(byte if byte < 128 else byte - 256) for byte in data[at:at + 24]) + ",")
    print(f"0}};\nconst size_t {name}_len = sizeof({name}) - 1;")


def main():
    if len(sys.argv) != 3:
        raise SystemExit(__doc__)
    with open(sys.argv[1], "rb") as file:
        prompt = file.read()
    with open(sys.argv[2], "rb") as file:
        tools = file.read()
    json.loads(tools)
    print('#include "agent/builtin_text.h"\n')
    c_array("builtin_prompt", prompt)
    c_array("builtin_tools", tools)


main()
