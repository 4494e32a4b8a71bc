// Watches a WHEP stream with pion as some viewers at once, and tells what a player behind each would have seen.
//
// The samples are assembled by pion's own sample builder, which gives a picture up a second after it should have been there.
// `through` is the port of a relay on this machine that stands before the server's.
package main

import (
	"encoding/json"
	"flag"
	"fmt"
	"io"
	"log"
	"net/http"
	"net/url"
	"os"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/pion/rtcp"
	"github.com/pion/rtp"
	"github.com/pion/rtp/codecs"
	"github.com/pion/webrtc/v4"
	"github.com/pion/webrtc/v4/pkg/media/samplebuilder"
)

const (
	clockRate = 90_000
	patience  = time.Second
)

// A picture that was whole: when, by this process's clock, and its time in the stream, both in seconds.
type picture [2]float64

type viewer struct {
	pc       *webrtc.PeerConnection
	resource string

	mu       sync.Mutex
	pictures []picture
	lost     []float64 // when it was found that packets will not come any more
	plis     int
}

var began = time.Now()

func main() {
	whep := flag.String("url", "", "WHEP endpoint")
	through := flag.Int("through", 0, "port of the relay")
	count := flag.Int("viewers", 4, "how many")
	settle := flag.Duration("settle", 5*time.Second, "before it counts")
	duration := flag.Duration("duration", time.Minute, "that counts")
	flag.Parse()
	viewers := make([]*viewer, *count)
	for i := range viewers {
		v, err := watch(*whep, *through)
		if err != nil {
			log.Fatal(err)
		}
		viewers[i] = v
	}
	time.Sleep(*settle)
	from := time.Since(began).Seconds()
	time.Sleep(*duration)
	until := time.Since(began).Seconds()
	type seen struct {
		Pictures []picture `json:"pictures"`
		Lost     int       `json:"lost"`
		Plis     int       `json:"plis"`
	}
	all := make([]seen, 0, *count)
	for _, v := range viewers {
		v.mu.Lock()
		s := seen{Plis: v.plis}
		for _, p := range v.pictures {
			if p[0] >= from && p[0] < until {
				s.Pictures = append(s.Pictures, p)
			}
		}
		for _, at := range v.lost {
			if at >= from && at < until {
				s.Lost++
			}
		}
		v.mu.Unlock()
		all = append(all, s)
		v.close()
	}
	if err := json.NewEncoder(os.Stdout).Encode(all); err != nil {
		log.Fatal(err)
	}
}

func watch(whep string, through int) (*viewer, error) {
	settings := webrtc.SettingEngine{}
	settings.SetIncludeLoopbackCandidate(true)
	pc, err := webrtc.NewAPI(webrtc.WithSettingEngine(settings)).NewPeerConnection(webrtc.Configuration{})
	if err != nil {
		return nil, err
	}
	v := &viewer{pc: pc}
	pc.OnTrack(func(track *webrtc.TrackRemote, _ *webrtc.RTPReceiver) { v.read(track) })
	for _, kind := range []webrtc.RTPCodecType{webrtc.RTPCodecTypeVideo, webrtc.RTPCodecTypeAudio} {
		direction := webrtc.RTPTransceiverInit{Direction: webrtc.RTPTransceiverDirectionRecvonly}
		if _, err = pc.AddTransceiverFromKind(kind, direction); err != nil {
			return nil, err
		}
	}
	offer, err := pc.CreateOffer(nil)
	if err != nil {
		return nil, err
	}
	gathered := webrtc.GatheringCompletePromise(pc)
	if err = pc.SetLocalDescription(offer); err != nil {
		return nil, err
	}
	<-gathered
	response, err := http.Post(whep, "application/sdp", strings.NewReader(pc.LocalDescription().SDP))
	if err != nil {
		return nil, err
	}
	defer response.Body.Close()
	answer, err := io.ReadAll(response.Body)
	if err != nil {
		return nil, err
	}
	if response.StatusCode != http.StatusCreated {
		return nil, fmt.Errorf("the server refused with %d: %s", response.StatusCode, answer)
	}
	base, err := url.Parse(whep)
	if err != nil {
		return nil, err
	}
	resource, err := base.Parse(response.Header.Get("Location"))
	if err != nil {
		return nil, err
	}
	v.resource = resource.String()
	sdp := detour(string(answer), through)
	return v, pc.SetRemoteDescription(webrtc.SessionDescription{Type: webrtc.SDPTypeAnswer, SDP: sdp})
}

var direct = regexp.MustCompile(`^(a=candidate:\S+ \d+ udp \d+ [\d.]+) \d+ (.*)$`)

// detour puts the port of the relay into the candidates; the relay knows UDP and IPv4 only.
func detour(sdp string, port int) string {
	var lines []string
	for line := range strings.SplitSeq(sdp, "\r\n") {
		if m := direct.FindStringSubmatch(line); m != nil {
			lines = append(lines, m[1]+" "+strconv.Itoa(port)+" "+m[2])
		} else if !strings.HasPrefix(line, "a=candidate:") && !strings.HasPrefix(line, "a=end-of-candidates") {
			lines = append(lines, line)
		}
	}
	return strings.Join(lines, "\r\n")
}

func (v *viewer) read(track *webrtc.TrackRemote) {
	var depacketizer rtp.Depacketizer
	switch track.Codec().MimeType {
	case webrtc.MimeTypeH264:
		depacketizer = &codecs.H264Packet{}
	case webrtc.MimeTypeVP8:
		depacketizer = &codecs.VP8Packet{}
	default:
		for {
			if _, _, err := track.ReadRTP(); err != nil {
				return
			}
		}
	}
	builder := samplebuilder.New(1000, depacketizer, clockRate, samplebuilder.WithMaxTimeDelay(patience))
	var last uint32
	var media int64
	for {
		packet, _, err := track.ReadRTP()
		if err != nil {
			return
		}
		builder.Push(packet)
		for sample := builder.Pop(); sample != nil; sample = builder.Pop() {
			v.mu.Lock()
			if sample.PrevDroppedPackets > 0 && len(v.pictures) > 0 {
				v.lost = append(v.lost, time.Since(began).Seconds())
				v.plis++
				_ = v.pc.WriteRTCP([]rtcp.Packet{&rtcp.PictureLossIndication{MediaSSRC: uint32(track.SSRC())}})
			}
			if len(v.pictures) == 0 {
				last = sample.PacketTimestamp
			}
			media += int64(int32(sample.PacketTimestamp - last))
			last = sample.PacketTimestamp
			v.pictures = append(v.pictures, picture{time.Since(began).Seconds(), float64(media) / clockRate})
			v.mu.Unlock()
		}
	}
}

func (v *viewer) close() {
	if request, err := http.NewRequest(http.MethodDelete, v.resource, nil); err == nil {
		if response, err := http.DefaultClient.Do(request); err == nil {
			_ = response.Body.Close()
		}
	}
	_ = v.pc.Close()
}
