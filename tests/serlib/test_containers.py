"""Sound files of unknown length are read whole, and cut ones are refused, whatever a header claims.

What pipes write was looked up in what sox 14.4, ffmpeg 5.1, lame 3.100, mpg123, flac 1.4 and opusdec wrote into one.
"""

import io
import struct
from pathlib import Path

import numpy as np
import pytest
import soundfile

from serlib.data import audio
from serlib.errors import SerlibError

RATE, COUNT = 16_000, 48_006  # an even number of bytes whatever a sample takes, so nothing is padded
SOUND = (0.1 + 0.1 * np.sin(np.arange(COUNT) / 9_000)) * np.random.default_rng(0).standard_normal(COUNT).clip(-3, 3)
SMOOTH = 0.3 * np.sin(np.arange(COUNT) / 9) * (1 + np.sin(np.arange(COUNT) / 4_000))  # of which frames differ in length


def written(form: str, subtype: str | None = None, sound: np.ndarray = SOUND, rate: int = RATE, **settings) -> bytes:
    file = io.BytesIO()
    soundfile.write(file, sound, rate, format=form, subtype=subtype, **settings)
    return file.getvalue()


def put(folder: Path, data: bytes) -> Path:
    """Write a file whose name does not say what is in it."""
    path = folder / "sound"
    path.write_bytes(data)
    return path


def heard(folder: Path, data: bytes) -> np.ndarray:
    """Decode bytes; its header must say as many samples as there are."""
    path = put(folder, data)
    samples, rate = audio.decode(path)
    assert audio.header(path) == (len(samples), rate, samples.shape[1])
    return samples


def refused(folder: Path, data: bytes, sentence: str, by_its_header: bool = True) -> None:
    path = put(folder, data)
    for read in (audio.header, audio.decode) if by_its_header else (audio.decode,):
        with pytest.raises(SerlibError, match=sentence) as caught:
            read(path)
        assert str(path) in str(caught.value) and "\n" not in str(caught.value)


# --- WAV: RIFF, RIFX, RF64

WAVS = {
    "16 bit": written("WAV", "PCM_16"),
    "24 bit": written("WAV", "PCM_24"),
    "8 bit": written("WAV", "PCM_U8"),
    "float": written("WAV", "FLOAT"),
    "A-law": written("WAV", "ALAW"),
    "extensible": written("WAVEX", "PCM_24"),
    "big-endian": written("WAV", "PCM_16", endian="BIG"),
}


def with_length(data: bytes, length: int, riff: int | None = None) -> bytes:
    """Put another length before the samples of a WAV, and before the whole if asked."""
    order, at = ">" if data[:4] == b"RIFX" else "<", data.index(b"data") + 4
    whole = data[4:8] if riff is None else struct.pack(order + "I", riff)
    return data[:4] + whole + data[8:at] + struct.pack(order + "I", length) + data[at + 4 :]


@pytest.mark.parametrize("length", [0, 0x7FFFF000, 0x7FFFFFFF, 0x80000000, 0xFFFFFFFF], ids=hex)
@pytest.mark.parametrize("kind", WAVS)
def test_a_wav_from_a_pipe_is_read_whole(tmp_path, kind, length):
    whole = heard(tmp_path, WAVS[kind])
    assert len(whole) == COUNT and (np.abs(whole[:, 0] - SOUND) < 0.02).all()
    for riff in (None, 0, 36, 0x7FFFF024, 0xFFFFFFFF):
        assert np.array_equal(heard(tmp_path, with_length(WAVS[kind], length, riff)), whole)


def test_silence_from_a_pipe_is_not_taken_for_chunks(tmp_path):
    data = with_length(written("WAV", "PCM_16", np.zeros(COUNT)), 0)
    assert np.array_equal(heard(tmp_path, data), np.zeros((COUNT, 1)))


def test_a_wav_of_no_samples_before_other_chunks_is_empty(tmp_path):
    empty = written("WAV", "PCM_16", np.zeros(0))
    for data in (
        empty,
        empty + b"LIST" + struct.pack("<I", 4) + b"INFO",
        empty + b"note" + struct.pack("<I", 1) + b"x",
    ):
        refused(tmp_path, data, "0 samples")


@pytest.mark.parametrize("kind", WAVS)
@pytest.mark.parametrize("missing", [1, 100, 30_000])
def test_a_cut_wav_is_refused(tmp_path, kind, missing):
    refused(tmp_path, WAVS[kind][:-missing], f"is cut off, {missing:,} bytes are missing")


def test_a_length_that_is_no_sign_but_too_long_is_a_cut(tmp_path):
    for length in (2 * COUNT + 2, 1_000_000_000):
        refused(tmp_path, with_length(WAVS["16 bit"], length), f"{length - 2 * COUNT:,} bytes are missing")


def test_chunks_around_the_samples_are_no_sound(tmp_path):
    plain = WAVS["16 bit"]
    whole, at = heard(tmp_path, plain), plain.index(b"data")
    odd = b"LIST" + struct.pack("<I", 5) + b"INFOx"
    for data in (plain[:at] + odd + b"\0" + plain[at:], plain + odd + b"\0", plain + odd, plain + b"junk at the end"):
        assert np.array_equal(heard(tmp_path, data), whole)
    assert np.array_equal(heard(tmp_path, with_length(plain[:at] + odd + b"\0" + plain[at:], 0xFFFFFFFF)), whole)


@pytest.mark.parametrize("length", [0, 2**63 - 1])
def test_rf64_from_a_pipe_is_read_whole(tmp_path, length):
    data = written("RF64", "PCM_16")
    at = data.index(b"ds64")
    unknown = data[: at + 8] + struct.pack("<QQQ", length, length, length) + data[at + 32 :]
    assert np.array_equal(heard(tmp_path, unknown), heard(tmp_path, data)) and len(heard(tmp_path, data)) == COUNT


def test_a_cut_rf64_is_refused(tmp_path):
    refused(tmp_path, written("RF64", "PCM_16")[:-30_000], "30,000 bytes are missing")


# --- AIFF, AU


@pytest.mark.parametrize(
    ("form", "before", "pipes"), [("AIFF", b"SSND", (0, 0x7F000008)), ("AU", b".snd\0\0\0\x18", (2**32 - 1,))]
)
def test_aiff_and_au(tmp_path, form, before, pipes):
    data = written(form, "PCM_16")
    whole, at = heard(tmp_path, data), data.index(before) + len(before)
    assert len(whole) == COUNT
    for length in pipes:
        assert np.array_equal(heard(tmp_path, data[:at] + struct.pack(">I", length) + data[at + 4 :]), whole)
    for missing in (1, 30_000):
        refused(tmp_path, data[:-missing], f"{missing:,} bytes are missing")


# --- FLAC


def test_a_flac_from_a_pipe_is_read_whole_and_refused_where_it_is_cut(tmp_path):
    data = bytearray(written("FLAC", "PCM_16"))
    whole = heard(tmp_path, bytes(data))
    assert len(whole) == COUNT
    for share in (0.3, 2 / 3, 0.999):
        refused(tmp_path, bytes(data[: int(share * len(data))]), "cut off or damaged", by_its_header=False)
    data[21] &= 0xF0  # the number of samples has 36 bits, and is 0 where it is unknown
    data[22:26] = bytes(4)
    assert np.array_equal(heard(tmp_path, bytes(data)), whole)
    for share in (0.3, 2 / 3, 0.999):
        refused(tmp_path, bytes(data[: int(share * len(data))]), "cut off or damaged")


# --- Ogg


@pytest.mark.parametrize("codec", ["VORBIS", "OPUS"])
def test_a_cut_ogg_is_refused(tmp_path, codec):
    data = written("OGG", codec)
    assert len(heard(tmp_path, data)) == COUNT
    for share in (0.2, 0.5, 2 / 3, 0.9, 1 - 1 / len(data)):
        refused(tmp_path, data[: int(share * len(data))], "cut off|no sound file")
    refused(tmp_path, data[: data.rindex(b"OggS")], "its last page is not the end of its stream")
    hole = data[: len(data) // 2] + bytes(2_000) + data[len(data) // 2 + 2_000 :]
    refused(tmp_path, hole, "cut off", by_its_header=False)
    assert len(heard(tmp_path, data + b"TAG" + bytes(125))) == COUNT


def test_two_oggs_in_one_file_are_not_heard_as_one(tmp_path):
    refused(tmp_path, written("OGG", "VORBIS") + written("OGG", "VORBIS", SMOOTH), "several recordings")


# --- MP3

MP3S = {
    "mono": {"sound": SMOOTH, "rate": 16_000},
    "stereo": {"sound": np.stack([SMOOTH, SOUND], axis=1), "rate": 44_100},
    "48 kHz": {"sound": SMOOTH, "rate": 48_000},
    "8 kHz": {"sound": SMOOTH, "rate": 8_000},
    "stereo at 24 kHz": {"sound": np.stack([SMOOTH, SMOOTH], axis=1), "rate": 24_000},
}


def tagged_and_not(mode: str, sound: np.ndarray, rate: int) -> tuple[bytes, bytes]:
    """An MP3 as libsndfile writes it, and without its first frame, which holds the number of frames and no sound."""
    data = written("MP3", "MPEG_LAYER_III", sound, rate, bitrate_mode=mode, compression_level=0.4)
    assert data[0] == 0xFF and (b"Xing" in data[:60] or b"Info" in data[:60])
    return data, data[data.index(data[:2], 160) :]


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
@pytest.mark.parametrize("kind", MP3S)
def test_an_mp3_without_the_number_of_its_frames_is_read_whole(tmp_path, kind, mode):
    tagged, bare = tagged_and_not(mode, **MP3S[kind])
    whole, same = heard(tmp_path, tagged), heard(tmp_path, bare)
    assert len(whole) == COUNT
    # The number comes with the silence that encoder and decoder put before the sound, without it that stays.
    before = min(range(2_000), key=lambda n: np.abs(same[n : n + 9_000] - whole[:9_000])[1_000:].max())
    assert np.abs(same[before : before + COUNT] - whole)[1_000:-2_000].max() < 1e-3
    assert len(same) < COUNT + 3_500


def test_an_mp3_whose_number_is_wrong(tmp_path):
    tagged, _ = tagged_and_not("VARIABLE", **MP3S["mono"])
    at = tagged.index(b"Xing") + 8
    (count,) = struct.unpack_from(">I", tagged, at)
    less, none = (tagged[:at] + struct.pack(">I", number) + tagged[at + 4 :] for number in (count // 2, 0))
    assert COUNT < len(heard(tmp_path, less)) == len(heard(tmp_path, none)) < COUNT + 3_500
    without = tagged[: at - 4] + bytes(4) + tagged[at:]  # the flag that says that there is a number
    assert len(heard(tmp_path, without)) == len(heard(tmp_path, less))
    more = tagged[:at] + struct.pack(">I", count + 9) + tagged[at + 4 :]
    refused(tmp_path, more, f"9 of its {count + 9} frames are missing")


def test_an_mp3_between_tags_and_beside_another(tmp_path):
    tagged, bare = tagged_and_not("VARIABLE", **MP3S["mono"])
    tag, tail = b"ID3\x04\0\0\0\0\x02\0" + b"\xff\xfb" * 128, b"TAG" + b"x" * 125
    assert np.array_equal(heard(tmp_path, tag + tagged + tail), heard(tmp_path, tagged))
    assert np.array_equal(heard(tmp_path, tag + bare + tail), heard(tmp_path, bare))
    assert len(heard(tmp_path, tagged + tag + tagged)) > 2 * COUNT


@pytest.mark.parametrize("mode", ["VARIABLE", "CONSTANT"])
def test_a_cut_mp3_is_refused(tmp_path, mode):
    tagged, bare = tagged_and_not(mode, **MP3S["mono"])
    for data in (tagged, bare):
        for missing in (1, 2, 10, len(data) // 3 + 1):
            refused(tmp_path, data[:-missing], "is cut off")
    last = tagged.rindex(tagged[:2])
    for size in (1, 2, 3):  # of the four bytes that begin a frame
        refused(tmp_path, bare[: bare.rindex(tagged[:2]) + size], "is cut off in the middle of a frame")
    refused(tmp_path, tagged[:last], "1 of its [0-9]+ frames are missing")
    refused(tmp_path, tagged[:4_000] + bytes(600) + tagged[4_600:], "cut off|damaged")


def test_the_kind_of_mp3_that_fraunhofer_makes(tmp_path):
    """Its number of frames stands in a place of its own; made by hand, for no free encoder writes it."""
    tagged, bare = tagged_and_not("CONSTANT", **MP3S["mono"])
    at = tagged.index(b"Info") + 8
    (count,) = struct.unpack_from(">I", tagged, at)
    vbri = bytearray(len(tagged) - len(bare))
    vbri[:4] = tagged[:4]
    vbri[36:54] = b"VBRI" + struct.pack(">HHHII", 1, 0, 75, len(tagged), count)
    refused(tmp_path, bytes(vbri) + bare[: bare.rindex(tagged[:2])], f"1 of its {count} frames are missing")
    whole = heard(tmp_path, bytes(vbri) + bare)
    assert COUNT < len(whole) < COUNT + 3_500


# --- the rest


@pytest.mark.parametrize("form", ["VOC", "W64", "CAF", "NIST"])
def test_formats_that_do_not_tell_are_refused(tmp_path, form):
    refused(tmp_path, written(form, "PCM_16"), "a whole file and a cut one look alike; save it as .wav")


def test_a_file_of_somebody_else_is_said(tmp_path, monkeypatch):
    path = put(tmp_path, WAVS["16 bit"])
    monkeypatch.setattr(audio.os, "access", lambda *_: False)
    with pytest.raises(SerlibError, match="is not yours to read"):
        audio.read(path)
