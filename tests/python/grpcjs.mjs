// Submits a job with gRPC's own client for Node, over TLS, and prints how it ended.

import { readFileSync } from "node:fs";
import grpc from "@grpc/grpc-js";

const [address, request, ca, key, certificate] = process.argv.slice(2);
const read = (path) => (path ? readFileSync(path) : null);
const credentials = grpc.credentials.createSsl(read(ca), read(key), read(certificate));
const client = new grpc.Client(address, credentials);
const same = (bytes) => bytes;
const deadline = new Date(Date.now() + 600_000);
const method = "/queuebridge.v1.Jobs/Submit";
const answer = (error, bytes) => {
  const said = error ? { code: error.code, details: error.details } : { answer: bytes.toString("base64") };
  console.log(JSON.stringify(said));
  client.close();
};
const sent = Buffer.from(request, "base64");
client.makeUnaryRequest(method, same, same, sent, new grpc.Metadata(), { deadline }, answer);
