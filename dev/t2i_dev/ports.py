"""Free loopback ports for processes that take their port as an argument."""

import socket


def free_ports(count: int, address: str = "127.0.0.1") -> list[int]:
    """Distinct TCP ports that nothing listens on now.

    All sockets stay open until the last is bound, so that the numbers differ. Another process may still take one
    before its use: starters of servers must report "address in use" clearly.
    """
    sockets = [socket.create_server((address, 0)) for _ in range(count)]
    try:
        return [int(each.getsockname()[1]) for each in sockets]
    finally:
        for each in sockets:
            each.close()


def accepts_connections(address: str, port: int) -> bool:
    """Whether something listens there."""
    try:
        with socket.create_connection((address, port), timeout=1):
            return True
    except OSError:
        return False
