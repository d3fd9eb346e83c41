"""fMRI: BOLD runs to one response per trial and voxel, and what is known of each voxel.

`steps` holds the options, `volumes` reads images, `glm` fits the first-level model, `voxels` says what a
voxel is worth, `subject` writes ``trials.h5``. Voxels take the place of channels; betas have one time
sample, TR windows several.
"""
