#!/bin/sh
# Makes vega.js, idiomorph.js and their licences in this folder. Nobody who uses or installs the package runs this.
# Needs node 20 and npm. The date holds the versions of what Vega itself needs: the same files come out again.
set -eu
here=$(cd "$(dirname "$0")" && pwd)
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cd "$work"
printf '{"private": true, "type": "module"}' > package.json
npm install --silent --no-audit --no-fund --ignore-scripts --save-exact --before=2026-11-28 \
  vega@6.4.0 vega-interpreter@2.3.2 idiomorph@0.8.0 esbuild@0.28.2

# What charts written in Vega-Lite compile to, without maps, trees, forces and word clouds.
cat > entry.js <<'END'
import { extend } from "vega-util";
import { transforms } from "vega-dataflow";
import * as data from "vega-transforms";
import * as drawing from "vega-view-transforms";
import * as encoding from "vega-encode";
import { parse } from "vega-parser";
import { View } from "vega-view";
import { expressionInterpreter } from "vega-interpreter";
extend(transforms, data, drawing, encoding);
export { expressionInterpreter, parse, View };
END
node_modules/.bin/esbuild entry.js --bundle --minify --format=iife --global-name=vega --target=es2022 --legal-comments=none \
  --banner:js='/* Vega; what it holds and under which licences: vega.LICENSES.txt */' \
  --metafile=meta.json --outfile="$here/vega.js" --log-level=warning

cat > licences.js <<'END'
import { existsSync, readFileSync, writeFileSync } from "node:fs";
const used = Object.entries(Object.values(JSON.parse(readFileSync("meta.json"))["outputs"])[0].inputs)
  .filter(([, part]) => part.bytesInOutput > 0)
  .map(([path]) => path.match(/^(?:.*\/)?node_modules\/((?:@[^/]+\/)?[^/]+)/)?.[1]).filter(Boolean);
const texts = new Map();
for (const name of [...new Set(used)].sort()) {
  const about = JSON.parse(readFileSync(`node_modules/${name}/package.json`));
  const file = ["LICENSE", "LICENSE.md", "LICENSE.txt"].map((f) => `node_modules/${name}/${f}`).find(existsSync);
  const text = readFileSync(file, "utf8").trim();
  texts.set(text, [...(texts.get(text) ?? []), `${about.name} ${about.version} (${about.license})`]);
}
const parts = [...texts].map(([text, names]) => `${names.join("\n")}\n\n${text}\n`);
writeFileSync(process.argv[2], `vega.js holds code of these packages.\n\n${parts.join(`\n${"-".repeat(80)}\n\n`)}`);
END
node licences.js "$here/vega.LICENSES.txt"

# As it is published, under its licence.
{
  printf '/* idiomorph 0.8.0\n\n'
  cat node_modules/idiomorph/LICENSE
  printf '*/\n'
  cat node_modules/idiomorph/dist/idiomorph.min.js
} > "$here/idiomorph.js"
cd "$here"
sha256sum vega.js vega.LICENSES.txt idiomorph.js
