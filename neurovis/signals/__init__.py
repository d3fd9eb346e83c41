"""M/EEG preprocessing as pure functions on arrays with named dims and SI units.

Comes in: a recording (channel, time) and the onsets of its events. Goes out: trials (trial, channel,
time). `channels` picks, judges and repairs channels, `filters` does everything that is linear and
time-invariant in one pass, `epochs` reads triggers and cuts, `scaling` scales, clamps and whitens,
`recording` reads files in bounded memory, `chain` holds the options and strings the steps together.
"""
