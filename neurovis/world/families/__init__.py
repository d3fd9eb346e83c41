"""The families of the image world, in a stable order.

Adding one is a drawing function and a table in one of these files, listed in its `FAMILIES`.
"""

from . import animals, creatures, foods, places, plants, things, vehicles, wildlife

FAMILIES = tuple(
    family
    for module in (animals, wildlife, creatures, plants, foods, vehicles, places, things)
    for family in module.FAMILIES
)
