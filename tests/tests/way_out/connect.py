import socket


def connect(host):
    """All that comes before a tunnel is used."""
    with socket.create_connection(("127.0.0.1", 3128), 10) as proxy:
        proxy.sendall(f"CONNECT {host}:443 HTTP/1.1\r\nHost: {host}:443\r\n\r\n".encode())
        return proxy.recv(65536).decode()


for host in ("api.example.com", "other.example.com", "203.0.113.10", "169.254.169.254"):
    answer = connect(host)
    print(host, answer.split()[1], answer.count("HTTP/1.1"))
