const http2 = require("http2");

const session = http2.connect("https://h2.example.com");
session.on("error", (error) => {
    console.error(error);
    process.exit(1);
});
const fields = { ":method": "POST", ":path": "/v1/rpc", "content-type": "application/grpc", te: "trailers" };
const stream = session.request(fields);
let body = "";
stream.setEncoding("utf8");
stream.on("response", (head) => console.log("status", head[":status"]));
stream.on("data", (piece) => (body += piece));
stream.on("trailers", (trailers) => console.log("trailers", trailers["grpc-status"], trailers["grpc-message"]));
stream.on("end", () => {
    console.log("body", body);
    session.close();
});
stream.end("12345");
