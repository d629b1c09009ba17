"""proxy.py PORT USER:PASSWORD: an HTTP proxy that tunnels (CONNECT) for those who name user and password."""

from __future__ import annotations

import base64
import socket
import socketserver
import sys
import threading


class Tunnel(socketserver.StreamRequestHandler):
    def handle(self) -> None:
        method, target, *_ = self.rfile.readline().decode().split()
        wanted = "Basic " + base64.b64encode(sys.argv[2].encode()).decode()
        headers = {}
        while line := self.rfile.readline().decode().strip():
            name, _, value = line.partition(":")
            headers[name.lower()] = value.strip()
        if headers.get("proxy-authorization") != wanted or method != "CONNECT":
            self.wfile.write(b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n")
            return
        print("tunnelled to", target, flush=True)
        host, _, port = target.rpartition(":")
        with socket.create_connection((host, int(port))) as far:
            self.wfile.write(b"HTTP/1.1 200 OK\r\n\r\n")
            threading.Thread(target=copy, args=(far, self.connection), daemon=True).start()
            copy(self.connection, far)


def copy(source: socket.socket, target: socket.socket) -> None:
    try:
        while data := source.recv(65536):
            target.sendall(data)
        target.shutdown(socket.SHUT_WR)
    except OSError:
        pass  # one of the two has hung up


class Server(socketserver.ThreadingTCPServer):
    allow_reuse_address = True
    daemon_threads = True


if __name__ == "__main__":
    Server(("", int(sys.argv[1])), Tunnel).serve_forever()
