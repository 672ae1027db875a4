#!/bin/sh
# A real package from its Debian source: configure, make on two processors, its own tests.
set -eu
cd "$(mktemp -d)"
tar -xjf /usr/src/zlib_*.orig.tar.bz2
cd zlib*
./configure >configure.out
make -s -j2
make -s test
