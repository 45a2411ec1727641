# Every way in which an upstream lets the credential out that it was sent.
for name in ("body upper hex base64 base64url percent json html gzip field name cookie location "
             "reason error early continue chunks trailer extension unending old long range").split():
    answer = ask(f"GET /v1/echo/{name} HTTP/1.1\r\nHost: api.example.com\r\n"
                 f"Authorization: Bearer {KEY}\r\nRange: bytes=0-5\r\nAccept-Encoding: gzip\r\n"
                 "TE: trailers\r\nConnection: close\r\n\r\n")
    print(name, status(answer), answer.hex())
# What was sent before, asked for without it.
head = "Host: api.example.com\r\nConnection: close\r\n"
print("store", status(ask(f"GET /v1/store HTTP/1.1\r\n{head}Authorization: Bearer {KEY}\r\n\r\n")))
for fields in ("", "Range: bytes=0-5\r\n", "Accept-Encoding: gzip\r\n", "Authorization: Bearer x\r\n"):
    answer = ask(f"GET /v1/stored HTTP/1.1\r\n{head}{fields}\r\n")
    print("stored", status(answer), answer.hex())
answer = ask("GET /free/ HTTP/1.1\r\nHost: other.example.com\r\nConnection: close\r\n\r\n", "other.example.com")
print("elsewhere", status(answer))
