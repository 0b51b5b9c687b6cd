// Calls the demo services through one address with the clients of Connect, and
// prints what came of each call as a line of JSON.

import { readFileSync } from "node:fs";
import { createFileRegistry, fromBinary } from "@bufbuild/protobuf";
import { FileDescriptorSetSchema } from "@bufbuild/protobuf/wkt";
import { ConnectError, createClient } from "@connectrpc/connect";
import { createConnectTransport, createGrpcWebTransport } from "@connectrpc/connect-node";

const [baseUrl, descriptors] = process.argv.slice(2);
const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, readFileSync(descriptors)));
const service = registry.getService("queuebridge.demo.v1.Probe");
const common = { baseUrl, httpVersion: "1.1" };
const transports = {
  "grpc-web": createGrpcWebTransport(common),
  "connect-proto": createConnectTransport({ ...common, useBinaryFormat: true }),
  "connect-json": createConnectTransport({ ...common, useBinaryFormat: false }),
  "connect-get": createConnectTransport({ ...common, useBinaryFormat: false, useHttpGet: true }),
};

const text = (bytes) => new TextDecoder().decode(bytes);

for (const [name, transport] of Object.entries(transports)) {
  const client = createClient(service, transport);
  const say = (call, result) => console.log(JSON.stringify({ transport: name, call, ...result }));

  let header, trailer;
  const echoed = await client.echo(
    { payload: new TextEncoder().encode("hello") },
    {
      headers: { "x-key": "value" },
      onHeader: (headers) => (header = headers),
      onTrailer: (trailers) => (trailer = trailers),
    },
  );
  say("echo", {
    payload: text(echoed.payload),
    header: header.get("x-key"),
    trailer: trailer.get("probe-trailer"),
    binary: trailer.get("probe-trailer-bin"),
  });

  for (const call of ["fail", "sleep"]) {
    try {
      if (call === "fail") await client.fail({ code: 9, message: "not now ✓", reason: "CLOSED" });
      else await client.sleep({ duration: { seconds: 60n } }, { timeoutMs: 300 });
      say(call, { code: 0 });
    } catch (error) {
      const { code, rawMessage, details } = ConnectError.from(error);
      say(call, { code, message: rawMessage, details: details.map((detail) => detail.type) });
    }
  }

  const numbers = [];
  for await (const { number } of client.count({ upTo: 5 })) numbers.push(number);
  say("count", { numbers });
}
