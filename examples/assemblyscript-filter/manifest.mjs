// Puts manifest.json into the module as the custom section that Tidemill reads: the language has no words for custom sections.
import { readFileSync } from "node:fs";
import { Transform } from "assemblyscript/transform";

export default class Manifest extends Transform {
  afterCompile(module) {
    const manifest = JSON.parse(readFileSync(new URL("manifest.json", import.meta.url), "utf8"));
    module.addCustomSection("tidemill.manifest", new TextEncoder().encode(JSON.stringify(manifest)));
  }
}
