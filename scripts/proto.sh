#!/usr/bin/env bash
# Generates the protobuf modules of salon.clients.avatarkit; run it after a change of a .proto.
#
# The generator is an old one on purpose: what it writes asks no runtime for its version, so every
# protobuf from 4.21 on loads it. Its own packages go into a throwaway environment.
set -euo pipefail
cd "$(dirname "$0")/.."
declare -A unlinted=([py]="E501, E712, F821, I001" [pyi]="E501, I001, UP007, UP035, UP045")
source_dir="src/salon/clients/avatarkit/proto"
generated="$source_dir/generated"
work="$(mktemp -d)"
trap 'rm -rf "$work"' EXIT

"${PYTHON:-python3.11}" -m venv "$work/venv"
"$work/venv/bin/pip" install --quiet --only-binary :all: "grpcio-tools==1.49.1" "setuptools<80"
mkdir "$work/out"
for name in message animation; do
  "$work/venv/bin/python" -m grpc_tools.protoc -I src \
    --python_out="$work/out" --pyi_out="$work/out" "$source_dir/$name.proto"
  for kind in py pyi; do
    # The generator knows where the schema lies; the module lies one folder deeper.
    {
      echo "# Generated from ../$name.proto by scripts/proto.sh; do not edit."
      printf '%s\n' "# mypy: ignore-errors" "# ruff: noqa: ${unlinted[$kind]}" "# fmt: off"
      sed "s/salon\.clients\.avatarkit\.proto\.${name}_pb2/salon.clients.avatarkit.proto.generated.${name}_pb2/" \
        "$work/out/salon/clients/avatarkit/proto/${name}_pb2.$kind"
    } > "$generated/${name}_pb2.$kind"
  done
done
echo "wrote $generated"
