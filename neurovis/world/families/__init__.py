"""The families of the image world, in a stable order.

Adding one is a drawing function and a table in one of these files, listed in its `FAMILIES`.
"""

from . import animals, creatures, plants, wildlife

FAMILIES = (*animals.FAMILIES, *wildlife.FAMILIES, *creatures.FAMILIES, *plants.FAMILIES)
