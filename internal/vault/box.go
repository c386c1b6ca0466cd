package vault

import "github.com/klauspost/compress/zstd"

// MaxBoxed is the largest plain size that a Box takes.
const MaxBoxed = 8 << 20

// Packer compresses and expands what Boxes hold. Safe for concurrent use; one serves a whole process.
type Packer struct {
	enc *zstd.Encoder
	dec *zstd.Decoder
}

// NewPacker makes a packer. Close it.
func NewPacker() (*Packer, error) {
	enc, err := zstd.NewWriter(nil, zstd.WithEncoderLevel(zstd.SpeedFastest), zstd.WithEncoderConcurrency(2), zstd.WithWindowSize(1<<20), zstd.WithEncoderCRC(false))
	if err != nil {
		return nil, err
	}
	dec, err := zstd.NewReader(nil, zstd.WithDecoderConcurrency(4), zstd.WithDecoderMaxMemory(MaxBoxed))
	if err != nil {
		return nil, err
	}
	return &Packer{enc, dec}, nil
}

// Close frees the packer.
func (p *Packer) Close() {
	p.enc.Close()
	p.dec.Close()
}

// Box seals pieces of derived data, compressed, each for its place. Safe for concurrent use.
type Box struct {
	k       *Key
	p       *Packer
	purpose string
}

// Box returns the box for one purpose.
func (k *Key) Box(p *Packer, purpose string) *Box {
	return &Box{k: k, p: p, purpose: "box " + purpose}
}

// Seal seals plain, at most MaxBoxed bytes, for a place that must be given again to open it.
func (b *Box) Seal(place string, plain []byte) []byte {
	body, flags := plain, byte(0)
	if packed := b.p.enc.EncodeAll(plain, make([]byte, 0, len(plain)/2+64)); len(packed) < len(plain)-len(plain)/32 {
		body, flags = packed, flagZstd
	}
	return seal(b.k.aead(b.purpose), b.k.id, flags, make([]byte, 0, len(body)+overhead), body, []byte(place))
}

// Open opens what Seal made. ErrWrongKey: another key is named in it; ErrDamaged: it was changed or belongs to another place.
func (b *Box) Open(place string, sealed []byte) ([]byte, error) {
	body, flags, err := open(b.k.aead(b.purpose), b.k.id, nil, sealed, []byte(place))
	if err == nil && flags&flagZstd != 0 {
		if body, err = b.p.dec.DecodeAll(body, nil); err != nil {
			err = ErrDamaged
		}
	}
	return body, err
}
