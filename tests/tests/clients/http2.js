// A server of HTTP/2 alone, with an answer that has trailers, as gRPC's have.
const fs = require("fs");
const http2 = require("http2");

const [certificate, key] = process.argv.slice(2);
const server = http2.createSecureServer({ cert: fs.readFileSync(certificate), key: fs.readFileSync(key) });

server.on("stream", (stream, head) => {
    let size = 0;
    stream.on("data", (piece) => (size += piece.length));
    stream.on("error", () => {});
    stream.on("end", () => {
        stream.respond({ ":status": 200, "content-type": "application/grpc" }, { waitForTrailers: true });
        stream.on("wantTrailers", () => stream.sendTrailers({ "grpc-status": "0", "grpc-message": "well" }));
        stream.end(`${head[":method"]} ${head[":path"]} took ${size} bytes\n`);
    });
});
server.listen(443, "127.0.0.3", () => console.log("ready"));
