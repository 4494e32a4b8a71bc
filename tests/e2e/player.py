"""The video of a product page, wherever in the page it is: frames, moving pixels, sound."""

from __future__ import annotations

from tests.e2e.browser import Page

# Custom elements keep their video in a shadow tree.
FIND = """
const find = (root) => {
    const video = root.querySelector('video');
    if (video) return video;
    for (const element of root.querySelectorAll('*')) {
        const found = element.shadowRoot && find(element.shadowRoot);
        if (found) return found;
    }
    return null;
};
const video = find(document);
"""

# Firefox counts frames of a MediaStream under another name.
FRAMES = f"""() => {{
    {FIND}
    return video?.getVideoPlaybackQuality().totalVideoFrames || video?.mozPaintedFrames || 0;
}}"""

PIXELS = f"""() => {{
    {FIND}
    const canvas = new OffscreenCanvas(32, 18);
    const context = canvas.getContext('2d', {{ willReadFrequently: true }});
    context.drawImage(video, 0, 0, 32, 18);
    return Array.from(context.getImageData(0, 0, 32, 18).data);
}}"""

# Chromium decodes no sound that is muted, so it is listened to on the stream itself.
LISTEN = f"""async () => {{
    {FIND}
    if (!video?.srcObject?.getAudioTracks().length) return 0;
    if (!window.meter) {{
        const context = new AudioContext();
        window.meter = context.createAnalyser();
        context.createMediaStreamSource(video.srcObject).connect(window.meter);
    }}
    const samples = new Float32Array(window.meter.fftSize);
    window.meter.getFloatTimeDomainData(samples);
    return Math.max(...samples.map(Math.abs));
}}"""

# Firefox starts no audio context on a machine without a sound device, but decodes what is muted.
MEASURE = """async () => {
    let energy = 0;
    for (const connection of window.connections) {
        for (const entry of (await connection.getStats()).values()) {
            if (entry.type === 'inbound-rtp' && entry.kind === 'audio') energy += entry.totalAudioEnergy ?? 0;
        }
    }
    return energy;
}"""


async def plays(page: Page, *, frames: int = 20, deadline: float = 20) -> None:
    """Wait until that many more frames are shown and the picture moves."""
    start = await page.evaluate(FRAMES)
    await page.until(
        f"(wanted) => ({FRAMES})() >= wanted",
        start + frames,
        deadline=deadline,
        what=f"{frames} more frames are shown in {page.engine}",
    )
    still = await page.evaluate(PIXELS)
    await page.until(
        f"(still) => ({PIXELS})().some((value, i) => Math.abs(value - still[i]) > 4)",
        still,
        what=f"the picture moves in {page.engine}",
    )


async def sounds(page: Page) -> None:
    """Wait until there is sound in what the page plays."""
    loudness = LISTEN if page.engine == "chromium" else MEASURE
    await page.until(
        f"async () => (await ({loudness})()) > 0.001", what=f"there is sound in {page.engine}"
    )


async def size(page: Page) -> tuple[int, int]:
    """The size of the picture in pixels."""
    width, height = await page.evaluate(
        f"() => {{ {FIND} return [video.videoWidth, video.videoHeight]; }}"
    )
    return width, height
