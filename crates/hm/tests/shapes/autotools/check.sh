#!/bin/sh
set -e
test "$(./fold abc)" = 3
