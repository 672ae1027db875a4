#!/bin/sh
set -eu
cd "$(mktemp -d)"
cat >CMakeLists.txt <<'T'
cmake_minimum_required(VERSION 3.18)
project(t C)
enable_testing()
add_library(l SHARED l.c)
add_executable(t t.c)
target_link_libraries(t l)
add_test(NAME runs COMMAND t)
T
echo 'int l(void) { return 0; }' >l.c
echo 'int l(void); int main(void) { return l(); }' >t.c
cmake -S . -B out >/dev/null
cmake --build out -j 2 >/dev/null
ctest --test-dir out --output-on-failure | grep '100% tests passed'
