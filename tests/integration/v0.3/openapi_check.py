#!/usr/bin/python3
"""Hold answers of a server against its own description.

usage: openapi_check.py [--all] DOCUMENT.json ANSWERS.jsonl

A line of ANSWERS: {"method","path","request": text or null,"unsaid": bool,"status","headers": as received,"body": text or null}. Checked is
  - the document itself: its schemas are schemas, its examples fit them;
  - each answer: the operation has that status, the status that content type and those headers, the content type's schema takes the body.
    Schemas of answers are taken as complete here: a member that is not described is a fault, although clients are told to ignore such;
  - that the schema is worth something: with any one member replaced, or one added, it must refuse the body;
  - each request: the schema takes what the server took, and refuses what the server refused by name, unless "unsaid" says that no schema
    can tell why.
--all: every operation was answered with success.
Faults are printed, one a line; exit code 1 when there were any.
"""
import copy
import json
import re
import sys

from jsonschema import Draft202012Validator, FormatChecker, RefResolver

METHODS = ("get", "post", "put", "patch", "delete")
WRONG = [{"wrong": [[]]}]
REFUSED_BY_NAME = ("unknown_field", "invalid_field")

faults = []


def fault(where, what):
    faults.append(f"{where}: {what}")


class Schemas:
    def __init__(self, doc):
        self.doc = doc
        self.open_members = set()
        self.find_open(doc)

    def find_open(self, at):
        """Names of members whose own members are somebody else's to describe."""
        if isinstance(at, dict):
            for name, schema in at.get("properties", {}).items():
                if isinstance(schema, dict) and schema.get("additionalProperties") is True:
                    self.open_members.add(name)
            for value in at.values():
                self.find_open(value)
        elif isinstance(at, list):
            for value in at:
                self.find_open(value)

    def follow(self, obj):
        while "$ref" in obj:
            at = self.doc
            for name in obj["$ref"][2:].split("/"):
                at = at[name]
            obj = at
        return obj

    def closed(self, schema):
        """The schema with references followed, allOf put together, and every described object closed."""
        return close(self.expand(schema))

    def expand(self, schema):
        if not isinstance(schema, dict):
            return schema
        schema = self.follow(schema)
        out = {}
        for key, value in schema.items():
            if key == "properties":
                out[key] = {name: self.expand(sub) for name, sub in value.items()}
            elif key in ("items", "additionalProperties"):
                out[key] = self.expand(value)
            elif key in ("oneOf", "anyOf", "prefixItems"):
                out[key] = [self.expand(sub) for sub in value]
            elif key != "allOf":
                out[key] = value
        for part in schema.get("allOf", []):
            part = self.expand(part)
            if "if" in part:
                out.setdefault("allOf", []).append(part)
            else:
                out = merge(out, part)
        return out

    def errors(self, schema, value):
        validator = Draft202012Validator(
            schema, resolver=RefResolver("", self.doc), format_checker=FormatChecker(["uuid"]))
        return [f"/{'/'.join(map(str, e.absolute_path))}: {e.message[:300]}" for e in validator.iter_errors(value)]


def merge(a, b):
    """Both hold."""
    out = dict(a)
    for key, value in b.items():
        if key not in out or out[key] == value:
            out[key] = value
        elif key == "properties":
            out[key] = {name: merge(out[key].get(name, {}), value.get(name, {})) for name in {**out[key], **value}}
        elif key == "required":
            out[key] = sorted({*out[key], *value})
        elif key == "enum":
            out[key] = [item for item in value if item in out[key]]
        elif key == "allOf":
            out[key] = out[key] + value
        elif key != "description":
            raise SystemExit(f"openapi_check.py: allOf with two '{key}'")
    return out


def close(schema):
    if not isinstance(schema, dict):
        return schema
    out = dict(schema)
    if "properties" in out:
        out["properties"] = {name: close(sub) for name, sub in out["properties"].items()}
        out.setdefault("additionalProperties", False)
    for key in ("items", "additionalProperties"):
        if key in out:
            out[key] = close(out[key])
    for key in ("oneOf", "anyOf", "prefixItems"):
        if key in out:
            out[key] = [close(sub) for sub in out[key]]
    return out


def changes(value, open_members, path=()):
    """Values that are wrong in one place: (path, whole value)."""
    yield path, WRONG
    if isinstance(value, dict):
        if not path or path[-1] not in open_members:
            yield path + ("+",), {**value, "wrong": WRONG}
            for name, item in value.items():
                for where, changed in changes(item, open_members, path + (name,)):
                    yield where, {**value, name: changed}
    elif isinstance(value, list) and value:
        for where, changed in changes(value[0], open_members, path + (0,)):
            yield where, [changed] + value[1:]


def check_value(schemas, where, schema, value):
    schema = schemas.closed(schema)
    errors = schemas.errors(schema, value)
    for error in errors:
        fault(where, error)
    if errors:
        return
    for path, changed in changes(copy.deepcopy(value), schemas.open_members):
        if not schemas.errors(schema, changed):
            fault(where, f"the schema takes anything at /{'/'.join(map(str, path))}")


# --- the document ----------------------------------------------------------------------------------------------------------------

def check_document(schemas):
    def walk(at, where, of_request):
        if isinstance(at, list):
            for i, value in enumerate(at):
                walk(value, f"{where}/{i}", of_request)
        elif isinstance(at, dict):
            if "schema" in at and ("example" in at or "examples" in at):
                examples = [at["example"]] if "example" in at else [e["value"] for e in at["examples"].values()]
                schema = at["schema"] if of_request else schemas.closed(at["schema"])
                for example in examples:
                    for error in schemas.errors(schema, example):
                        fault(f"example at {where}", error)
            for key, value in at.items():
                walk(value, f"{where}/{key}", of_request or key in ("requestBody", "requestBodies", "parameters"))

    for name, schema in schemas.doc["components"]["schemas"].items():
        try:
            Draft202012Validator.check_schema(schema)
        except Exception as error:  # the library's own kind is not public in every release
            fault(f"schema {name}", str(error).splitlines()[0])
    walk(schemas.doc, "#", False)


# --- answers ---------------------------------------------------------------------------------------------------------------------

def headers_of(text):
    lines = [line.partition(":") for line in text.splitlines() if ":" in line]
    return {name.strip().lower(): value.strip() for name, _, value in lines}


def find_path(doc, path):
    """The template of a path, literal ones first; None."""
    path = path.partition("?")[0]
    for template in sorted(doc["paths"], key=lambda t: t.count("{")):
        if re.fullmatch(re.sub(r"\{\w+\}", "[^/]+", re.escape(template).replace(r"\{", "{").replace(r"\}", "}")), path):
            return template
    return None


def check_headers(schemas, where, described, headers):
    for name, header in described.items():
        value = headers.get(name.lower())
        if value is None:
            if header.get("required"):
                fault(where, f"no header {name}")
            continue
        schema = schemas.follow(header["schema"])
        if schema.get("type") == "integer":
            value = int(value)
        for error in schemas.errors(schema, value):
            fault(where, f"header {name}{error}")


def check_lines(schemas, where, schema, content_type, body):
    """Text of lines, each as x-line-schema says; in a stream they are the data of the events."""
    if content_type == "text/event-stream":
        lines = [line[len("data: "):] for line in body.splitlines() if line.startswith("data: ")]
    else:
        lines = body.splitlines()
    if not lines:
        fault(where, "no lines")
    for line in lines:
        for error in schemas.errors(schema, json.loads(line)):
            fault(where, error)
    for name in ("ts", "type", "seq", "prev"):
        if not schemas.errors(schema, {**json.loads(lines[0]), name: WRONG}):
            fault(where, f"the schema takes anything at /{name}")


def check_body(schemas, where, response, headers, body):
    content_type = headers.get("content-type", "").partition(";")[0]
    content = response.get("content", {})
    if not content:
        if body or content_type:
            fault(where, f"a body, '{content_type}', where none is described")
        return
    if content_type not in content:
        fault(where, f"content type '{content_type}' is not described")
        return
    schema = content[content_type].get("schema")
    if not schema:
        return
    line_schema = schemas.follow(schema).get("x-line-schema")
    if line_schema:
        check_lines(schemas, where, line_schema, content_type, body)
    elif content_type == "application/json":
        check_value(schemas, where, schema, json.loads(body))
    else:
        for error in schemas.errors(schema, body):
            fault(where, error)


def check_request(schemas, where, operation, answer, code):
    if answer["request"] is None or "requestBody" not in operation:
        return
    schema = schemas.follow(operation["requestBody"])["content"]["application/json"]["schema"]
    if 200 <= answer["status"] < 300:
        for error in schemas.errors(schema, json.loads(answer["request"])):
            fault(where, f"the server took it, the request's schema does not: {error}")
    elif code in REFUSED_BY_NAME and not answer["unsaid"]:
        if not schemas.errors(schema, json.loads(answer["request"])):
            fault(where, f"the server refused it, the request's schema takes it: {answer['request'][:200]}")


def check_answer(schemas, answer):
    """Returns the operationId when it was a success."""
    where = f"{answer['method']} {answer['path']} {answer['status']}"
    headers = headers_of(answer["headers"])
    if not re.fullmatch("[A-Za-z0-9._-]{1,64}", headers.get("x-request-id", "")):
        fault(where, "no X-Request-Id")
    template = find_path(schemas.doc, answer["path"])
    operation = schemas.doc["paths"].get(template, {}).get(answer["method"].lower())
    if not operation:
        wanted = "method_not_allowed" if template else "not_found"
        value = json.loads(answer["body"])
        check_value(schemas, where, {"$ref": "#/components/schemas/Error"}, value)
        if value["error"]["code"] != wanted:
            fault(where, f"{value['error']['code']} instead of {wanted}")
        return None
    response = operation["responses"].get(str(answer["status"]))
    if not response:
        fault(where, f"status not described: {(answer['body'] or '')[:300]}")
        return None
    response = schemas.follow(response)
    check_headers(schemas, where, response.get("headers", {}), headers)
    check_body(schemas, where, response, headers, answer["body"])
    failed = answer["status"] >= 400 and answer["body"]
    check_request(schemas, where, operation, answer, failed and json.loads(answer["body"]).get("error", {}).get("code"))
    return None if answer["status"] >= 400 else operation["operationId"]


def main():
    arguments = sys.argv[1:]
    everything = arguments[:1] == ["--all"]
    if len(arguments) != 2 + everything:
        raise SystemExit(__doc__)
    with open(arguments[-2], encoding="utf-8") as file:
        schemas = Schemas(json.load(file))
    check_document(schemas)
    seen = set()
    count = 0
    with open(arguments[-1], encoding="utf-8") as file:
        for line in file:
            seen.add(check_answer(schemas, json.loads(line)))
            count += 1
    for template, item in schemas.doc["paths"].items():
        for method in METHODS:
            if everything and method in item and item[method]["operationId"] not in seen:
                fault(f"{method.upper()} {template}", "was not answered with success")
    for text in dict.fromkeys(faults):
        print(text)
    print(f"{count} answers, {len(faults)} faults")
    sys.exit(1 if faults or not count else 0)


main()
