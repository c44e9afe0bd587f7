//! Minimal MP4 and M4A (ISO/IEC 14496-12) around a padded `mdat`.
//!
//! `ftyp`, `moov`, then an `mdat` that holds the few samples and noise up to the wanted size, as large
//! files need. A size too small for that gives noise alone.

use super::h264;
use super::layout::{Layout, mix};

const SAMPLE_RATE: u32 = 48_000;
/// Samples in one AAC frame, and so the time unit of the sound track.
const FRAME: u32 = 1024;
/// One AAC-LC frame of mono silence.
const SILENCE: [u8; 6] = [0x00, 0xC8, 0x00, 0x80, 0x23, 0x80];
const AUDIO_FRAMES: u32 = 470; // ten seconds
const PICTURES: u32 = 10; // one a second

pub(super) fn video(seed: u64, size: u64) -> Layout {
    // Lively but legible colours: neither channel goes to an extreme.
    let channel = |n: u64| 64 + (mix(seed ^ n) % 128) as u8;
    let nal = h264::picture(channel(1), channel(2), channel(3));
    let mut picture = u32::try_from(nal.len())
        .unwrap_or_default()
        .to_be_bytes()
        .to_vec();
    picture.extend(nal);
    let tracks = [
        Track {
            kind: Kind::Video,
            count: PICTURES,
            sample: picture,
        },
        Track {
            kind: Kind::Audio,
            count: AUDIO_FRAMES,
            sample: SILENCE.to_vec(),
        },
    ];
    movie(b"isom", seed, size, &tracks)
}

pub(super) fn audio(seed: u64, size: u64) -> Layout {
    movie(
        b"M4A ",
        seed,
        size,
        &[Track {
            kind: Kind::Audio,
            count: AUDIO_FRAMES,
            sample: SILENCE.to_vec(),
        }],
    )
}

#[derive(Clone, Copy, PartialEq)]
enum Kind {
    Video,
    Audio,
}

/// All samples of a track are alike. The one picture is stored once and shown again and again: its
/// chunk offsets all name the same place.
struct Track {
    kind: Kind,
    count: u32,
    sample: Vec<u8>,
}

impl Track {
    fn timescale(&self) -> u32 {
        match self.kind {
            Kind::Video => 1,
            Kind::Audio => SAMPLE_RATE,
        }
    }

    fn duration(&self) -> u32 {
        match self.kind {
            Kind::Video => self.count,
            Kind::Audio => self.count * FRAME,
        }
    }

    fn stored(&self) -> Vec<u8> {
        match self.kind {
            Kind::Video => self.sample.clone(),
            Kind::Audio => self.sample.repeat(self.count as usize),
        }
    }
}

fn movie(brand: &[u8; 4], seed: u64, size: u64, tracks: &[Track]) -> Layout {
    let ftyp = boxed(
        b"ftyp",
        &[brand.as_slice(), &[0, 0, 2, 0], b"isomiso2avc1mp41"].concat(),
    );
    // `moov` is as long whatever offsets it holds, so a first try tells where the samples will lie.
    let moov_len = moov(tracks, 0).len();
    let media: Vec<u8> = tracks.iter().flat_map(Track::stored).collect();
    let front = ftyp.len() + moov_len;
    let mdat_len = size.saturating_sub(front as u64);
    let mdat = match u32::try_from(mdat_len) {
        Ok(len) => [&len.to_be_bytes()[..], b"mdat"].concat(),
        Err(_) => [&[0, 0, 0, 1][..], b"mdat", &mdat_len.to_be_bytes()].concat(),
    };
    if ((front + mdat.len() + media.len()) as u64) > size {
        return Layout::noise(Vec::new(), seed, size);
    }
    let samples_at = u32::try_from(front + mdat.len()).unwrap_or_default();
    Layout::noise(
        [ftyp, moov(tracks, samples_at), mdat, media].concat(),
        seed,
        size,
    )
}

fn moov(tracks: &[Track], samples_at: u32) -> Vec<u8> {
    let seconds = tracks
        .iter()
        .map(|track| track.duration() / track.timescale())
        .max()
        .unwrap_or_default();
    let mvhd = full(
        b"mvhd",
        0,
        &[
            u32s(&[0, 0, 1000, seconds * 1000, 0x0001_0000, 0x0100_0000, 0, 0]),
            matrix(),
            u32s(&[0; 6]),
            u32s(&[3]),
        ]
        .concat(),
    );
    let mut body = mvhd;
    let mut at = samples_at;
    for (number, track) in (1..).zip(tracks) {
        body.extend(trak(track, number, seconds, at));
        at += u32::try_from(track.stored().len()).unwrap_or_default();
    }
    boxed(b"moov", &body)
}

fn trak(track: &Track, number: u32, seconds: u32, at: u32) -> Vec<u8> {
    let video = track.kind == Kind::Video;
    let (width, height) = if video {
        (h264::WIDTH_MBS * 16, h264::HEIGHT_MBS * 16)
    } else {
        (0, 0)
    };
    let volume: u32 = if video { 0 } else { 0x0100_0000 };
    let tkhd = full(
        b"tkhd",
        3,
        &[
            u32s(&[0, 0, number, 0, seconds * 1000, 0, 0, 0, volume]),
            matrix(),
            u32s(&[width << 16, height << 16]),
        ]
        .concat(),
    );
    let mdhd = full(
        b"mdhd",
        0,
        &u32s(&[0, 0, track.timescale(), track.duration(), 0x55C4_0000]),
    );
    let (handler, header) = if video {
        (b"vide", full(b"vmhd", 1, &[0; 8]))
    } else {
        (b"soun", full(b"smhd", 0, &[0; 4]))
    };
    let hdlr = full(b"hdlr", 0, &[&[0; 4][..], handler, &[0; 13]].concat());
    let dref = full(b"dref", 0, &[u32s(&[1]), full(b"url ", 1, &[])].concat());
    let minf = boxed(
        b"minf",
        &[header, boxed(b"dinf", &dref), stbl(track, at)].concat(),
    );
    boxed(
        b"trak",
        &[tkhd, boxed(b"mdia", &[mdhd, hdlr, minf].concat())].concat(),
    )
}

fn stbl(track: &Track, at: u32) -> Vec<u8> {
    let (entry, ticks, per_chunk, offsets) = match track.kind {
        Kind::Video => (avc1(), 1, 1, vec![at; track.count as usize]),
        Kind::Audio => (mp4a(), FRAME, track.count, vec![at]),
    };
    let sample_len = u32::try_from(track.sample.len()).unwrap_or_default();
    let chunks = u32::try_from(offsets.len()).unwrap_or_default();
    let stsd = full(b"stsd", 0, &[u32s(&[1]), entry].concat());
    let stts = full(b"stts", 0, &u32s(&[1, track.count, ticks]));
    let stsc = full(b"stsc", 0, &u32s(&[1, 1, per_chunk, 1]));
    let stsz = full(b"stsz", 0, &u32s(&[sample_len, track.count]));
    let stco = full(b"stco", 0, &[u32s(&[chunks]), u32s(&offsets)].concat());
    boxed(b"stbl", &[stsd, stts, stsc, stsz, stco].concat())
}

fn avc1() -> Vec<u8> {
    let (sps, pps) = (h264::sps(), h264::pps());
    let len = |nal: &[u8]| u16::try_from(nal.len()).unwrap_or_default().to_be_bytes();
    // AVCDecoderConfigurationRecord: four-byte NAL lengths, one set of parameters.
    let avcc = [
        &[1, sps[1], sps[2], sps[3], 0xFF, 0xE1][..],
        &len(&sps),
        &sps,
        &[1],
        &len(&pps),
        &pps,
    ]
    .concat();
    let (width, height) = (
        (h264::WIDTH_MBS * 16) as u16,
        (h264::HEIGHT_MBS * 16) as u16,
    );
    let entry = [
        &[0, 0, 0, 0, 0, 0, 0, 1][..], // reserved, data_reference_index
        &[0; 16],
        &width.to_be_bytes(),
        &height.to_be_bytes(),
        &[0, 0x48, 0, 0, 0, 0x48, 0, 0], // 72 dpi
        &[0, 0, 0, 0, 0, 1],             // reserved, frame_count
        &[0; 32],                        // compressorname
        &[0, 0x18, 0xFF, 0xFF],          // depth, pre_defined
        &boxed(b"avcC", &avcc),
    ];
    boxed(b"avc1", &entry.concat())
}

fn mp4a() -> Vec<u8> {
    // AudioSpecificConfig: AAC-LC, 48 kHz, one channel.
    let config = [0x11, 0x88];
    let decoder_config = descriptor(
        4,
        &[&[0x40, 0x15][..], &[0; 11], &descriptor(5, &config)].concat(),
    );
    let es = descriptor(
        3,
        &[&[0, 1, 0][..], &decoder_config, &descriptor(6, &[2])].concat(),
    );
    let entry = [
        &[0, 0, 0, 0, 0, 0, 0, 1][..], // reserved, data_reference_index
        &[0; 8],
        &[0, 1, 0, 16, 0, 0, 0, 0], // channels, bits, reserved
        &(SAMPLE_RATE << 16).to_be_bytes(),
        &full(b"esds", 0, &es),
    ];
    boxed(b"mp4a", &entry.concat())
}

fn descriptor(tag: u8, body: &[u8]) -> Vec<u8> {
    // All of ours are shorter than 128 bytes, so one length byte does.
    [&[tag, u8::try_from(body.len()).unwrap_or_default()], body].concat()
}

fn boxed(kind: &[u8; 4], body: &[u8]) -> Vec<u8> {
    [
        &u32::try_from(body.len() + 8)
            .unwrap_or_default()
            .to_be_bytes()[..],
        kind,
        body,
    ]
    .concat()
}

fn full(kind: &[u8; 4], flags: u32, body: &[u8]) -> Vec<u8> {
    boxed(kind, &[&flags.to_be_bytes()[..], body].concat())
}

fn matrix() -> Vec<u8> {
    u32s(&[0x0001_0000, 0, 0, 0, 0x0001_0000, 0, 0, 0, 0x4000_0000])
}

fn u32s(values: &[u32]) -> Vec<u8> {
    values
        .iter()
        .flat_map(|value| value.to_be_bytes())
        .collect()
}
