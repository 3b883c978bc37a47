// A WireGuard peer that is not ours: wireguard-go, with its user-space TCP in place of a TUN device, so it needs no
// privilege. It does what the lines of its standard input say, and answers each with one line: `ok …` or `error …`.
//
//	wireguard PRIVATE-KEY ADDRESS…   keys in hexadecimal; first it says `ok PORT`, where it hears UDP on loopback
//
//	peer PUBLIC-KEY ENDPOINT|- ALLOWED…   the one peer it has
//	serve                                 HTTP on port 80 of its addresses: /page, /bytes?n=, and /hash for what is posted
//	get URL                               status, length and SHA-256 of what it gets
//	post URL LENGTH                       status and text of the answer to so many bytes
//	sum LENGTH                            SHA-256 of so many bytes of what both sides of a test know
//	rekey                                 forgets its sessions and shakes hands anew
//	handshake                             when it last shook hands
//	stream URL SECONDS                    bytes a second that it gets
package main

import (
	"bufio"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"os"
	"strconv"
	"strings"
	"time"

	"golang.zx2c4.com/wireguard/device"
	"golang.zx2c4.com/wireguard/tun/netstack"
)

// What fits into any tunnel.
const mtu = 1280

// How long anything may take that is not told how long it takes.
const patience = 20 * time.Second

func main() {
	if len(os.Args) < 3 {
		fmt.Fprintln(os.Stderr, "wireguard PRIVATE-KEY ADDRESS…")
		os.Exit(2)
	}
	peer, err := start(os.Args[1], os.Args[2:])
	say(peer.portOrEmpty(), err)
	if err != nil {
		os.Exit(1)
	}
	lines := bufio.NewScanner(os.Stdin)
	for lines.Scan() {
		say(peer.do(strings.Fields(lines.Text())))
	}
}

func say(answer string, err error) {
	if err != nil {
		fmt.Println("error", strings.ReplaceAll(err.Error(), "\n", " "))
		return
	}
	fmt.Println("ok", answer)
}

type peer struct {
	device *device.Device
	net    *netstack.Net
	client http.Client
	other  device.NoisePublicKey
}

func start(private string, texts []string) (*peer, error) {
	var addresses []netip.Addr
	for _, text := range texts {
		address, err := netip.ParseAddr(text)
		if err != nil {
			return nil, err
		}
		addresses = append(addresses, address)
	}
	tun, inside, err := netstack.CreateNetTUN(addresses, nil, mtu)
	if err != nil {
		return nil, err
	}
	wireguard := device.NewDevice(tun, &loopback{}, device.NewLogger(device.LogLevelError, ""))
	if err := wireguard.IpcSet("private_key=" + private + "\nlisten_port=0\n"); err != nil {
		return nil, err
	}
	transport := &http.Transport{DialContext: inside.DialContext, DisableKeepAlives: true}
	return &peer{device: wireguard, net: inside, client: http.Client{Transport: transport}}, wireguard.Up()
}

func (p *peer) do(words []string) (string, error) {
	if len(words) == 0 {
		return "", errors.New("there is nothing to do")
	}
	switch rest := words[1:]; {
	case words[0] == "peer" && len(rest) > 2:
		return "", p.meet(rest[0], rest[1], rest[2:])
	case words[0] == "serve" && len(rest) == 0:
		return "", p.serve()
	case words[0] == "get" && len(rest) == 1:
		return p.get(rest[0])
	case words[0] == "post" && len(rest) == 2:
		return p.post(rest[0], rest[1])
	case words[0] == "sum" && len(rest) == 1:
		return sum(rest[0])
	case words[0] == "rekey" && len(rest) == 0:
		return "", p.rekey()
	case words[0] == "handshake" && len(rest) == 0:
		return p.handshake()
	case words[0] == "stream" && len(rest) == 2:
		return p.stream(rest[0], rest[1])
	}
	return "", fmt.Errorf("`%s` is not understood", strings.Join(words, " "))
}

func (p *peer) meet(public, endpoint string, allowed []string) error {
	if err := p.other.FromHex(public); err != nil {
		return err
	}
	config := "replace_peers=true\npublic_key=" + public + "\n"
	if endpoint != "-" {
		config += "endpoint=" + endpoint + "\n"
	}
	for _, prefix := range allowed {
		config += "allowed_ip=" + prefix + "\n"
	}
	return p.device.IpcSet(config)
}

func (p *peer) serve() error {
	listener, err := p.net.ListenTCP(&net.TCPAddr{Port: 80})
	if err != nil {
		return err
	}
	pages := http.NewServeMux()
	pages.HandleFunc("/page", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, strings.NewReader("inside"), 6)
	})
	pages.HandleFunc("/bytes", func(w http.ResponseWriter, r *http.Request) {
		length, err := strconv.ParseInt(r.URL.Query().Get("n"), 10, 64)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		answer(w, pattern(length), length)
	})
	pages.HandleFunc("/hash", func(w http.ResponseWriter, r *http.Request) {
		length, sum, err := hash(r.Body)
		if err != nil {
			http.Error(w, err.Error(), http.StatusBadRequest)
			return
		}
		text := fmt.Sprintf("%d %s", length, sum)
		answer(w, strings.NewReader(text), int64(len(text)))
	})
	go http.Serve(listener, pages)
	return nil
}

func answer(w http.ResponseWriter, body io.Reader, length int64) {
	w.Header().Set("Content-Length", strconv.FormatInt(length, 10))
	io.Copy(w, body)
}

func (p *peer) get(url string) (string, error) {
	p.client.Timeout = patience
	response, err := p.client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	length, sum, err := hash(response.Body)
	return fmt.Sprintf("%d %d %s", response.StatusCode, length, sum), err
}

func (p *peer) post(url, text string) (string, error) {
	length, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", err
	}
	request, err := http.NewRequest(http.MethodPost, url, pattern(length))
	if err != nil {
		return "", err
	}
	request.ContentLength = length
	p.client.Timeout = patience
	response, err := p.client.Do(request)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	body, err := io.ReadAll(response.Body)
	return fmt.Sprintf("%d %s", response.StatusCode, body), err
}

func (p *peer) stream(url, text string) (string, error) {
	seconds, err := strconv.ParseFloat(text, 64)
	if err != nil {
		return "", err
	}
	span := time.Duration(seconds * float64(time.Second))
	p.client.Timeout = span + patience
	response, err := p.client.Get(url)
	if err != nil {
		return "", err
	}
	defer response.Body.Close()
	begun, got, chunk := time.Now(), 0, make([]byte, 1<<17)
	for time.Since(begun) < span {
		length, err := response.Body.Read(chunk)
		got += length
		if err != nil {
			return "", err
		}
	}
	return fmt.Sprintf("%.0f", float64(got)/time.Since(begun).Seconds()), nil
}

func (p *peer) rekey() error {
	other := p.device.LookupPeer(p.other)
	if other == nil {
		return errors.New("there is no peer")
	}
	other.ExpireCurrentKeypairs()
	return other.SendHandshakeInitiation(false)
}

func (p *peer) handshake() (string, error) {
	seconds, err := p.setting("last_handshake_time_sec")
	if err != nil {
		return "", err
	}
	nanos, err := p.setting("last_handshake_time_nsec")
	return seconds + "." + nanos, err
}

func (p *peer) portOrEmpty() string {
	if p == nil {
		return ""
	}
	port, _ := p.setting("listen_port")
	return port
}

func (p *peer) setting(name string) (string, error) {
	all, err := p.device.IpcGet()
	if err != nil {
		return "", err
	}
	for _, line := range strings.Split(all, "\n") {
		if value, found := strings.CutPrefix(line, name+"="); found {
			return value, nil
		}
	}
	return "", fmt.Errorf("there is no `%s`", name)
}

// How much there is, and its SHA-256.
func hash(body io.Reader) (int64, string, error) {
	sum := sha256.New()
	length, err := io.Copy(sum, body)
	return length, hex.EncodeToString(sum.Sum(nil)), err
}

func sum(text string) (string, error) {
	length, err := strconv.ParseInt(text, 10, 64)
	if err != nil {
		return "", err
	}
	_, of, err := hash(pattern(length))
	return of, err
}

// The bytes that both sides of a test know: each is its place modulo 251.
func pattern(length int64) io.Reader { return io.LimitReader(&counter{}, length) }

type counter struct{ next int }

func (c *counter) Read(room []byte) (int, error) {
	for i := range room {
		room[i] = byte(c.next)
		c.next = (c.next + 1) % 251
	}
	return len(room), nil
}
