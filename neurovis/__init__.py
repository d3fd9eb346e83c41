"""neurovis decodes what a person saw from MEG, EEG or fMRI.

Raw recordings in, retrieved images and a report out. ``neurovis demo`` shows the whole of it offline.
Importing this package loads nothing heavy; each module imports what it needs where it needs it.
"""

__version__ = "0.1.0.dev0"
