/*
 * The description of this API: docs/openapi.yaml as JSON, turned into C by docs/openapi.py when the program is built, so that there is one copy
 * to keep. The bytes of GET /openapi.json; constant.
 */
#ifndef ARP_ORCHESTRATOR_ROUTES_OPENAPI_H
#define ARP_ORCHESTRATOR_ROUTES_OPENAPI_H

#include <stddef.h>

extern const char openapi_json[]; /* not NUL-terminated */
extern const size_t openapi_json_len;

#endif
