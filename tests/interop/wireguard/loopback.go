package main

import (
	"errors"
	"net"
	"net/netip"

	"golang.zx2c4.com/wireguard/conn"
)

// A UDP socket that hears nobody but this machine; the module's own listens on every address there is.
type loopback struct {
	socket *net.UDPConn
}

func (l *loopback) Open(port uint16) ([]conn.ReceiveFunc, uint16, error) {
	socket, err := net.ListenUDP("udp4", &net.UDPAddr{IP: net.IPv4(127, 0, 0, 1), Port: int(port)})
	if err != nil {
		return nil, 0, err
	}
	if err := errors.Join(socket.SetReadBuffer(buffer), socket.SetWriteBuffer(buffer)); err != nil {
		return nil, 0, err
	}
	l.socket = socket
	receive := func(packets [][]byte, sizes []int, from []conn.Endpoint) (int, error) {
		length, source, err := socket.ReadFromUDPAddrPort(packets[0])
		if err != nil {
			return 0, err
		}
		sizes[0], from[0] = length, &conn.StdNetEndpoint{AddrPort: source}
		return 1, nil
	}
	return []conn.ReceiveFunc{receive}, uint16(socket.LocalAddr().(*net.UDPAddr).Port), nil
}

func (l *loopback) Close() error {
	if l.socket == nil {
		return nil
	}
	return l.socket.Close()
}

func (l *loopback) Send(packets [][]byte, to conn.Endpoint) error {
	for _, packet := range packets {
		if _, err := l.socket.WriteToUDPAddrPort(packet, to.(*conn.StdNetEndpoint).AddrPort); err != nil {
			return err
		}
	}
	return nil
}

func (l *loopback) ParseEndpoint(text string) (conn.Endpoint, error) {
	to, err := netip.ParseAddrPort(text)
	return &conn.StdNetEndpoint{AddrPort: to}, err
}

func (l *loopback) SetMark(uint32) error { return nil }

func (l *loopback) BatchSize() int { return 1 }

// As much as the module asks for.
const buffer = 7 << 20
