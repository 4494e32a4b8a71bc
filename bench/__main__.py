"""`make bench`: measure, print, and compare with what is promised.

Usage: python -m bench [micro|join|forward|churn|hls|glass|loss|players ...]
    [--viewers N] [--joins N] [--cycles N] [--seconds N]
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from pathlib import Path
from typing import Any

from bench import churn, forward, glass, hls, join, loss, micro, players
from bench.figures import machine

PARTS = ("micro", "join", "forward", "churn", "hls", "glass", "loss", "players")
ARTIFACTS = Path(__file__).parent / ".artifacts"

JOIN_P95_MS = 500
FORWARD_P99_MS = 5
RSS_GROWTH_MIB = 5
HLS_P50_MS = 1000
HLS_P95_MS = 1300
RTMP_TO_WHEP_P50_MS = 300
FROZEN_SHARE = 0.01
LOSS_VIEWERS = 4
PART_AGE_P50_MS = 20
PEER_RATIO = 5
# Worker threads and kept-alive connections come and go; a leak of 800 viewers is 800.
WOBBLE = 8


def main() -> int:
    """Run what is asked for (all by default); 1 when a promise is broken."""
    parser = argparse.ArgumentParser(prog="python -m bench")
    parser.add_argument("parts", nargs="*", metavar="|".join(PARTS))
    parser.add_argument("--joins", type=int, default=50)
    parser.add_argument("--viewers", type=int, default=50)
    parser.add_argument("--seconds", type=float, default=20)
    parser.add_argument("--cycles", type=int, default=1000)
    options = parser.parse_args()
    unknown = set(options.parts) - set(PARTS)
    if unknown:
        parser.error(f"there is no part {', '.join(sorted(unknown))}")
    parts = options.parts or list(PARTS)

    results: dict[str, Any] = {"at": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())}
    results["machine"] = machine()
    load, cores = os.getloadavg()[0], os.cpu_count() or 1
    if load > cores / 2:
        print(f"The machine is busy (load {load:.1f} on {cores} cores): delays will be too high.")
    verdicts: list[bool] = []
    if "micro" in parts:
        results["micro"] = micro.measure()
        print(micro.report(results["micro"], micro.saved(), results["machine"]))
    if "join" in parts:
        results["join"] = join.measure(options.joins)
        for name, figures in results["join"].items():
            verdicts.append(_print_join(name, figures))
    if "forward" in parts:
        results["forward"] = forward.measure(options.viewers, options.seconds)
        verdicts.append(_print_forward(results["forward"]))
    if "churn" in parts:
        results["churn"] = churn.measure(options.cycles, min(200, options.cycles // 2))
        verdicts.append(_print_churn(results["churn"]))
    if "hls" in parts:
        results["hls"] = hls.measure(max(options.seconds, 60))
        verdicts.append(_print_hls(results["hls"]))
    if "glass" in parts:
        results["glass"] = glass.measure(max(options.seconds, 30))
        verdicts.append(_print_glass(results["glass"]))
    if "loss" in parts:
        results["loss"] = loss.measure(max(options.seconds, 30), LOSS_VIEWERS)
        verdicts += [_print_loss(name, row) for name, row in results["loss"].items()]
        for name, reason in loss.skipped().items():
            print(f"\n{name} is skipped: {reason}")
    if "players" in parts:
        results["players"] = players.measure()
        verdicts.append(_print_players(results["players"]))

    ARTIFACTS.mkdir(exist_ok=True)
    path = ARTIFACTS / "bench.json"
    path.write_text(json.dumps(results, indent=2) + "\n")
    print(
        f"\nwritten to {path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path}"
    )
    return 0 if all(verdicts) else 1


def _verdict(text: str, good: bool) -> bool:
    print(f"  {'kept' if good else 'BROKEN'}: {text}", flush=True)
    return good


def _print_hls(figures: dict[str, Any]) -> bool:
    latency = figures["latency_ms"]
    print(f"\nLL-HLS in hls.js in Chromium, 720p30, parts of 200 ms, {figures['seconds']} s played")
    print(
        f"  first picture after {figures['first_picture_ms']} ms (page, script, playlists, media)"
    )
    print(f"  glass to glass p50 {latency['p50']:.0f} ms, p95 {latency['p95']:.0f} ms")
    print(f"  {figures['frames']} frames, {figures['dropped']} dropped, {figures['stalls']} stalls")
    kept = _verdict(f"p50 <= {HLS_P50_MS} ms", latency["p50"] <= HLS_P50_MS)
    kept &= _verdict(f"p95 <= {HLS_P95_MS} ms", latency["p95"] <= HLS_P95_MS)
    return kept & _verdict("no stall", figures["stalls"] == 0)


def _print_glass(figures: dict[str, Any]) -> bool:
    print("\nRTMP from ffmpeg, 720p30, glass to glass in Chromium, by the time in the picture")
    for name, label in (("whep", "WHEP"), ("hls", "LL-HLS in hls.js")):
        latency, stalls = figures[name]["latency_ms"], figures[name]["stalls"]
        print(
            f"  {label:16} p50 {latency['p50']:6.0f}   p95 {latency['p95']:6.0f} ms   "
            f"{latency['count']} pictures, {stalls} stalls"
        )
    whep, live = figures["whep"]["latency_ms"], figures["hls"]["latency_ms"]
    kept = _verdict(f"WHEP p50 <= {RTMP_TO_WHEP_P50_MS} ms", whep["p50"] <= RTMP_TO_WHEP_P50_MS)
    kept &= _verdict(f"LL-HLS p50 <= {HLS_P50_MS} ms", live["p50"] <= HLS_P50_MS)
    kept &= _verdict(f"LL-HLS p95 <= {HLS_P95_MS} ms", live["p95"] <= HLS_P95_MS)
    return kept & _verdict("no stall", figures["hls"]["stalls"] == 0)


def _print_loss(name: str, figures: dict[str, Any]) -> bool:
    errors = figures["decode_errors"]
    print(
        f"\n{name} behind {loss.NETWORK.loss:.0%} loss and {loss.NETWORK.jitter * 1000:.0f} ms jitter, "
        f"{figures['viewers']} viewers for {figures['watched_seconds'] / 3600:.2f} hours"
    )
    print(
        f"  {figures['pictures']} pictures, {figures['freezes']} freezes, "
        f"the relay was up to {figures['relay_late_ms']} ms late"
    )
    share = figures["frozen_share"]
    kept = _verdict(f"frozen {share:.2%} < {FROZEN_SHARE:.0%} of the time", share < FROZEN_SHARE)
    return kept & _verdict(f"{errors} pictures could not be decoded", errors == 0)


def _print_players(figures: dict[str, Any]) -> bool:
    print("\nLL-HLS to many players, 720p30 2.5 Mbit/s and sound, parts of 200 ms")
    for name, label in (
        ("few", "stagecast"),
        ("many", "stagecast"),
        ("mediamtx", "MediaMTX"),
    ):
        if name not in figures:
            continue
        run = figures[name]
        window, server = run["result"]["window"], run["server"]
        age = window["part_age_ms"]
        print(
            f"  {label:10} {run['result']['playing']:5} players  {window['requests'] / window['seconds']:6.0f} "
            f"requests/s  {server['requests_a_core_second']:6} a core  part age p50 {age['p50']:6.1f}  "
            f"p99 {age['p99']:6.1f} ms  {window['missed']} missed  {window['stalls']} stalls  "
            f"({run['idle_cores']} cores idle)"
        )
    few, many = figures["few"]["result"]["window"], figures["many"]["result"]["window"]
    kept = _verdict(
        f"age of a part p50 < {PART_AGE_P50_MS} ms with {players.FEW} players",
        few["part_age_ms"]["count"] > 0 and few["part_age_ms"]["p50"] < PART_AGE_P50_MS,
    )
    kept &= _verdict(
        f"no part missed, no request failed with {players.MANY} players",
        many["active"] == players.MANY and many["missed"] == many["errors"] == 0,
    )
    if "mediamtx" not in figures:
        print(f"  not compared: {figures['missing']}")
        return kept
    peer = figures["mediamtx"]["server"]["requests_a_core_second"]
    ratio = figures["many"]["server"]["requests_a_core_second"] / max(1, peer)
    return kept & _verdict(
        f"{ratio:.1f} times MediaMTX's requests a core, at least {PEER_RATIO}", ratio >= PEER_RATIO
    )


def _print_join(name: str, figures: dict[str, Any]) -> bool:
    joined = figures["joined_ms"]
    print(f"\nJoin, publisher {name}, 720p30, keyframe every 2 s, {joined['count']} joins")
    for label, key in (
        ("POST sent to answer", "answered_ms"),
        ("POST sent to media connected", "connected_ms"),
        ("POST sent to first decoded picture", "joined_ms"),
    ):
        row = figures[key]
        print(
            f"  {label:36} p50 {row['p50']:7.1f}   p95 {row['p95']:7.1f}   max {row['max']:7.1f} ms"
        )
    return _verdict(f"p95 under {JOIN_P95_MS} ms", joined["p95"] < JOIN_P95_MS)


def _print_forward(figures: dict[str, Any]) -> bool:
    print(
        f"\nForwarding to {figures['viewers']} viewers, 720p30 2.5 Mbit/s, {figures['seconds']:.0f} s"
    )
    for label, key in (
        ("each packet", "delay_ms"),
        ("last packet of each frame", "frame_end_delay_ms"),
        ("each packet, viewer's thread", "handled_delay_ms"),
    ):
        row = figures[key]
        print(
            f"  {label:36} p50 {row['p50_ms']:7.3f}   p95 {row['p95_ms']:7.3f}   "
            f"p99 {row['p99_ms']:7.3f}   max {row['max_ms']:7.3f} ms"
        )
    print(
        f"  {figures['packets_per_viewer_per_second']} packets/s a viewer, {figures['packets_lost']} lost; "
        f"server {figures['cpu_us_per_packet']} µs a packet, {figures['cpu_share_of_a_core'] * 100:.0f} % "
        f"of a core, {figures['memory_per_viewer_kib']} KiB a viewer"
    )
    good = figures["delay_ms"]["count"] > 0 and figures["delay_ms"]["p99_ms"] < FORWARD_P99_MS
    return _verdict(f"p99 under {FORWARD_P99_MS} ms", good)


def _print_churn(figures: dict[str, Any]) -> bool:
    print(
        f"\n{figures['cycles']} viewers joined and left, compared with after {figures['after_first']}"
    )
    growth = figures["rss_growth_kib"] / 1024
    print(
        f"  memory {growth:+.1f} MiB (of {figures['rss_mib']} MiB), "
        f"descriptors {figures['descriptor_growth']:+d}, threads {figures['thread_growth']:+d}; "
        f"{figures['cycles_per_second']} cycles/s, {figures['cpu_ms_per_cycle']} ms CPU a cycle"
    )
    return _verdict(
        f"memory grows under {RSS_GROWTH_MIB} MiB, descriptors and threads by less than {WOBBLE}",
        growth < RSS_GROWTH_MIB
        and figures["descriptor_growth"] < WOBBLE
        and figures["thread_growth"] < WOBBLE,
    )


if __name__ == "__main__":
    sys.exit(main())
