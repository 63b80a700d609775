"""What pixels' colours are made of, eight at a time: sky, texture, sunlight, shadow and sRGB, as code for `shading`.

Pixels of a row that see one triangle are a run: what the triangle fixes is computed once, and what is left for eight
pixels together. Colours go into planes of a row's scratch; `encode_row` lights and encodes a whole row.
"""

# mypy: disable-error-code="no-untyped-def, misc, unused-ignore"

from __future__ import annotations

from typing import Any

from llvmlite import ir

from aerialworld_core.kernels import intrinsic, types
from aerialworld_sim.lanes import BYTE, FLOAT, INT, LANES, LONG, Code, Term, eight
from aerialworld_sim.sun_map import BIAS, CELLS, LEVELS
from aerialworld_sim.surfaces import DENSITY, DUV1, DUV2, NORMAL, RECORD, ROUGHNESS, SUN, UV
from aerialworld_sim.textures import CODE_BITS, ENCODE_STEPS, TEXEL_SCALE
from aerialworld_sim.vectors import PIXELS, TILE

#: A level of the sun map is left for the next when a pixel covers this share of its texels: an edge is soft by one to
#: two and a half pixels.
COARSENESS = 0.4

#: Planes of a row's scratch: the pixels' directions left and up; the sun's share (−1: a colour that is light itself);
#: linear red, green, blue.
LEFT, UP, SHARE, RED, GREEN, BLUE = range(6)
PLANES = 6

#: Places among a picture's float32 numbers: the camera's axes in map, the way to the sun in map and in the camera, the
#: light of sun and surroundings, the sky, a pixel's size at 1 m, the sun map's axes and its levels' texels.
AXES, TO_SUN, SUN_LIGHT, AMBIENT, HORIZON, ZENITH, PIXEL, PLANE, TEXELS = 0, 9, 12, 15, 18, 21, 24, 25, 34
NUMBERS = TEXELS + LEVELS
#: What a level of the sun map is to a picture, float32: with t the depth and (left, up) a direction, a pixel lies at
#: F + t (1 + left·2 + up·3) texels from the camera's texel across (A) and along (B) the map, and at height H.
A0, A1, A2, A3, B0, B1, B2, B3, H0, H1, H2, H3 = range(12)
LATTICE = 12
#: … and int32: the camera's texel, the level's tiles in a row and in a column, its first tile.
COLUMN, LINE, ACROSS, ALONG, FIRST = range(5)
WHOLE = 5

#: Arrays that the code reads, in the order of their addresses; the last of them are the sun map's.
TILES = ("heights", "place", "missing")
ARRAYS = (
    "records", "material", "colour", "first_level", "levels", "texels", "level_offset", "level_width", "level_height",
    "encode", "numbers", "lattice", "whole", *TILES,
)  # fmt: skip


class _Arrays:
    """The arrays' addresses, by name: each is loaded where it is asked for."""

    def __init__(self, builder: Any, where: Any) -> None:
        self._builder, self._where = builder, where

    def __getattr__(self, name: str) -> Any:
        place = self._builder.add(self._where, LONG(8 * ARRAYS.index(name)))
        return self._builder.load(self._builder.inttoptr(place, LONG.as_pointer()))


class _Run:
    """One run: its scratch, its pixels and what its triangle fixes."""

    def __init__(self, c: Code, arrays: _Arrays, row: Any, pitch: Any, n: Any) -> None:
        self.c, self.builder, self.arrays, self.row, self.pitch, self.n = c, c.builder, arrays, row, pitch, n

    def plane(self, number: int) -> Any:
        return self.c.at(self.row, self.builder.mul(self.pitch, LONG(number)), 4)

    def number(self, place: int) -> Term:
        return self.c.single(self.arrays.numbers, place)

    def dot(self, place: int, vector: list[Term]) -> Term:
        """Three of the picture's numbers times a vector."""
        return sum_of([self.number(place + k) * vector[k] for k in range(3)])

    def store(self, i: Any, share: Term, colours: list[Term]) -> None:
        for plane, value in zip((SHARE, RED, GREEN, BLUE), (share, *colours), strict=True):
            self.c.store(value, self.plane(plane), i)


def sum_of(terms: list[Term]) -> Term:
    total = terms[0]
    for term in terms[1:]:
        total = total + term
    return total


@intrinsic
def sky_run(typing_context, where, row, pitch, n):
    """n pixels of sky, whose scratch is at `row`: from the horizon's colour to the zenith's by the sine of elevation,
    in linear light."""
    signature = types.void(types.uintp, types.uintp, types.intp, types.intp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, n = arguments
        c = Code(builder)
        run = _Run(c, _Arrays(builder, where), row, pitch, n)
        horizon, zenith = ([run.number(place + k) for k in range(3)] for place in (HORIZON, ZENITH))
        forward, side, rise = (run.number(AXES + 3 * k + 2) for k in range(3))
        with c.steps(n) as i:
            left, up = c.load(run.plane(LEFT), i), c.load(run.plane(UP), i)
            sine = ((forward + left * side + up * rise) / (left * left + up * up + 1.0).sqrt()).greatest(0.0)
            run.store(
                i,
                c.constant(eight(FLOAT), [-1.0] * LANES),
                [h + sine * (z - h) for h, z in zip(horizon, zenith, strict=True)],
            )
        return context.get_dummy_value()

    return signature, generate


@intrinsic
def surface_run(typing_context, where, row, pitch, n, face, depth, u, v, hidden, shadows, absent, begun, room):
    """n pixels that see triangle `face`: colours and the sun's share, into the scratch at `row`.

    depth, u, v  addresses of the run's first pixel; hidden: of its byte that says whether a mover hides the sun, or 0
    shadows      whether the sun casts any. Numbers of tiles that the sun map lacks go into `missing` (with −1 between
    them), of which `absent` of `room` are taken, `begun` of them by earlier rows; returns how many are taken then.
    """
    p = types.uintp
    signature = types.intp(p, p, types.intp, types.intp, types.intp, p, p, p, p, types.boolean, *[types.intp] * 3)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, n, face, depth, u, v, hidden, shadows, absent, begun, room = arguments
        c, arrays = Code(builder), _Arrays(builder, where)
        run = _Run(c, arrays, row, pitch, n)
        taken = c.variable(Term(builder, absent))
        record = c.at(arrays.records, face, 4 * RECORD)
        normal = [c.single(record, NORMAL + k) for k in range(3)]
        # The normal in the camera, and how the run's middle is seen.
        turned = [run.dot(AXES + 3 * k, normal) for k in range(3)]
        middle = builder.lshr(n, LONG(1))
        left, up = c.single(run.plane(LEFT), middle), c.single(run.plane(UP), middle)
        across = c.single(depth, middle) * run.number(PIXEL)  # a pixel's size there
        slope = (turned[0] + left * turned[1] + up * turned[2]) * -1.0 / (left * left + up * up + 1.0).sqrt()
        texture = _Texture(run, face, record, across, slope.greatest(0.01))
        sunlight = _Sunlight(run, record, turned)
        shadow = _Shadow(run, normal, across, taken, begun, room)
        count = Term(builder, builder.trunc(n, INT))
        with c.steps(n) as i:
            mask = c.ramp() + Term(builder, builder.trunc(i, INT)) < count
            left, up = c.load(run.plane(LEFT), i), c.load(run.plane(UP), i)
            a, b = c.load_some(u, i, mask), c.load_some(v, i, mask)
            colours = texture.sampled(a, b)
            share = c.variable(c.constant(eight(FLOAT), [0.0] * LANES))
            with builder.if_then(sunlight.any):
                share.set(sunlight.share(a, b, left, up))
                with builder.if_then(builder.icmp_unsigned("!=", hidden, LONG(0))):
                    share.set((c.bytes(hidden, i) > 0).where(0.0, share.get()))
                lit = mask & (share.get() > 0.0)
                with builder.if_then(builder.and_(shadows, lit.any())):
                    t = c.load_some(depth, i, mask)
                    share.set(share.get() * shadow.light(t, left, up, lit))
            run.store(i, share.get(), colours)
        return taken.get().value

    return signature, generate


class _Texture:
    """Bilinear, repeating, in linear light; v = 1 is the first row.

    Which mip level has texels of a pixel's size: texels under a pixel, between the footprint's area (1/slope) and its
    longer side squared (1/slope²), so that grazing views neither blur nor glitter. A level halves an edge: one for 2
    texels, another for every factor of 4.
    """

    def __init__(self, run: _Run, face: Any, record: Any, across: Term, slope: Term) -> None:
        c, arrays, builder = run.c, run.arrays, run.builder
        self.c, self.builder = c, builder
        kind = c.single(arrays.material, face, INT)
        self.colour = [c.single(arrays.colour, builder.sext((kind * 3 + k).value, LONG)) for k in range(3)]
        kind_long = builder.sext(kind.value, LONG)
        levels = c.single(arrays.levels, kind_long, INT)
        self.textured = (levels > 0).value
        footprint = c.single(record, DENSITY) * across * across / (slope * slope.sqrt())
        exponent = (Term(builder, builder.bitcast(footprint.value, INT)) >> 23) - 127
        wanted = (exponent > 0).where((exponent + 1) >> 1, 0)
        level = (c.single(arrays.first_level, kind_long, INT) + wanted.least(levels - 1)).value
        level = builder.select(self.textured, builder.sext(level, LONG), LONG(0))
        self.width, self.height = c.single(arrays.level_width, level, INT), c.single(arrays.level_height, level, INT)
        offset = builder.load(builder.inttoptr(c.at(arrays.level_offset, level, 8), LONG.as_pointer()))
        self.texels = c.at(arrays.texels, offset, 4)
        self.uv = [[c.single(record, place + k) for place in (UV, DUV1, DUV2)] for k in range(2)]

    def sampled(self, a: Term, b: Term) -> list[Term]:
        """Red, green and blue at barycentrics (a, b)."""
        found = [self.c.variable(colour.spread()) for colour in self.colour]
        with self.builder.if_then(self.textured):
            s, t = (start + a * one + b * two for start, one, two in self.uv)
            ax, x0, x1 = self._neighbours(s - s.floor(), self.width)
            ay, y0, y1 = self._neighbours(1.0 - (t - t.floor()), self.height)
            r0, r1 = y0 * self.width, y1 * self.width
            corners = [self.c.gather(self.texels, row + column, INT) for row in (r0, r1) for column in (x0, x1)]
            wb, wc, wd = ax * (1.0 - ay), (1.0 - ax) * ay, ax * ay
            weights = [1.0 - wb - wc - wd, wb, wc, wd]
            for k, variable in enumerate(found):
                roots = [((texel >> (CODE_BITS * k)) & ((1 << CODE_BITS) - 1)).real() for texel in corners]
                light = sum_of([w * (root * root) for w, root in zip(weights, roots, strict=True)])
                variable.set(light * (self.colour[k] * TEXEL_SCALE))
        return [variable.get() for variable in found]

    def _neighbours(self, share: Term, size: Term) -> tuple[Term, Term, Term]:
        """How far a place is past the first of its two neighbouring texels, and both (they repeat)."""
        place = (share.greatest(0.0).least(1.0) * size.real()) - 0.5
        first = place.floor()
        one = first.integer()  # −1 … size: rounding can reach the border
        two = one + 1
        return place - first, (one < 0).where(size - 1, one.least(size - 1)), (two < size).where(two, 0)


class _Sunlight:
    """The sun's share (its cosine times the diffuse lobe of `surfaces`) before shadow."""

    def __init__(self, run: _Run, record: Any, turned: list[Term]) -> None:
        self.cosine = [run.c.single(record, SUN + k) for k in range(3)]
        self.turned = turned
        s0, s1, s2 = self.cosine
        light = sum_of([run.number(SUN_LIGHT + k) for k in range(3)])
        #: LLVM's truth value: whether the sun is on this triangle at all.
        self.any = ((s0.greatest((s0 + s1).greatest(s0 + s2)) > 0.0) & (light > 0.0)).value
        to_sun = [run.number(TO_SUN + k) for k in range(3)]
        self.sun = [run.dot(AXES + 3 * k, to_sun) for k in range(3)]

    def share(self, a: Term, b: Term, left: Term, up: Term) -> Term:
        c = (self.cosine[0] + a * self.cosine[1] + b * self.cosine[2]).greatest(0.0)
        inverse = 1.0 / (left * left + up * up + 1.0).sqrt()
        # Front faces only: positive.
        facing = (self.turned[0] + left * self.turned[1] + up * self.turned[2]) * inverse * -1.0
        towards = (self.sun[0] + left * self.sun[1] + up * self.sun[2]) * inverse
        k = (1.5 - towards) * ROUGHNESS - 1.0  # 2(v·h)² = 1 + v·l, and v is against the ray
        one, two = 1.0 - c, 1.0 - facing
        one2, two2 = one * one, two * two
        return c * (1.0 + k * (one2 * one2 * one)) * (1.0 + k * (two2 * two2 * two))


class _Shadow:
    """How much of the sun static things leave, by `SunMap`.

    Places are counted from the camera's texel, so that float32 is exact enough anywhere in a city.
    """

    def __init__(self, run: _Run, normal: list[Term], across: Term, taken: Any, begun: Any, room: Any) -> None:
        c, builder, arrays = run.c, run.builder, run.arrays
        self.c, self.builder, self.arrays = c, builder, arrays
        self.taken, self.begun, self.room = taken, begun, room
        # The receiving plane rises by −normal/steep per metre across the sun's direction; beyond 20 it is held.
        steep = run.dot(PLANE + 6, normal).greatest(0.05)
        size = across * steep.sqrt()  # of a pixel, seen from the sun: shorter along its direction
        level = c.constant(INT, 0)
        for k in range(LEVELS - 1):
            level = level + (size > run.number(TEXELS + k) * COARSENESS).where(c.constant(INT, 1), 0)
        long = builder.sext(level.value, LONG)
        texel = c.single(arrays.numbers, builder.add(long, LONG(TEXELS)))
        lattice, whole = c.at(arrays.lattice, long, 4 * LATTICE), c.at(arrays.whole, long, 4 * WHOLE)
        self.to = [c.single(lattice, k) for k in range(LATTICE)]
        self.whole = [c.single(whole, k, INT) for k in range(WHOLE)]
        self.step_a = run.dot(PLANE, normal) / steep * texel * -1.0
        self.step_b = run.dot(PLANE + 3, normal) / steep * texel * -1.0

    def light(self, t: Term, left: Term, up: Term, lit: Term) -> Term:
        """The share that is left at depth t, where `lit`; tiles that are not there shade nothing and are noted."""
        c, to = self.c, self.to
        a, b, h = (to[k] + t * (to[k + 1] + left * to[k + 2] + up * to[k + 3]) for k in (A0, B0, H0))
        fa, fb = a.floor(), b.floor()
        wa, wb = a - fa, b - fb
        column, line = (f.greatest(-1e9).least(1e9).integer() + self.whole[k] for f, k in ((fa, COLUMN), (fb, LINE)))
        # Division by CELLS in floats: exact, because half a cell is added and 2^22 cells are more than a map has.
        tx, ty = ((f.real() + 0.5) * (1.0 / CELLS) for f in (column, line))
        tx, ty = tx.floor().greatest(-1.0).least(1e9).integer(), ty.floor().greatest(-1.0).least(1e9).integer()
        inside = lit & (tx >= 0) & (ty >= 0) & (tx < self.whole[ACROSS]) & (ty < self.whole[ALONG])
        tile = inside.where(self.whole[FIRST] + ty * self.whole[ACROSS] + tx, 0)
        held = c.gather(self.arrays.place, tile, INT)
        lacking = inside & (held < 0)
        with self.builder.if_then(lacking.any()):
            self._note(lacking.where(tile, -1))
        there = inside & (held >= 0)
        at = there.where(held * PIXELS + (line - ty * CELLS) * TILE + (column - tx * CELLS), 0)
        low = h + BIAS - wa * self.step_a - wb * self.step_b
        corners = (
            (0, low), (1, low + self.step_a), (TILE, low + self.step_b), (TILE + 1, low + self.step_a + self.step_b),
        )  # fmt: skip
        free = [c.gather(c.at(self.arrays.heights, k, 4), at) <= ground for k, ground in corners]
        weights = [(1.0 - wa) * (1.0 - wb), wa * (1.0 - wb), (1.0 - wa) * wb, wa * wb]
        part = sum_of([f.where(w, 0.0) for f, w in zip(free, weights, strict=True)])
        whole = free[0] & free[1] & free[2] & free[3]
        return there.where(whole.where(1.0, part), 1.0)

    def _note(self, tiles: Term) -> None:
        """Numbers of tiles that are not there, unless the same were this row's last."""
        c, builder = self.c, self.builder
        taken = self.taken.get().value
        new = c.variable(Term(builder, ir.Constant(ir.IntType(1), 1)))
        with builder.if_then(builder.icmp_signed(">", taken, self.begun)):
            last = c.load(self.arrays.missing, builder.sub(taken, LONG(LANES)), INT)
            new.set(Term(builder, Term(builder, builder.icmp_signed("!=", last.value, tiles.value)).any()))
        fits = builder.icmp_signed("<=", builder.add(taken, LONG(LANES)), self.room)
        with builder.if_then(builder.and_(new.get().value, fits)):
            c.store(tiles, self.arrays.missing, taken)
            self.taken.set(Term(builder, builder.add(taken, LONG(LANES))))


@intrinsic
def encode_row(typing_context, where, row, pitch, n, rgb):
    """A whole row of n (a multiple of 8) pixels to sRGB bytes at `rgb`: albedo times ambient light and the sun's share,
    or a colour as it is where the share is negative. No light is negative."""
    signature = types.void(types.uintp, types.uintp, types.intp, types.intp, types.uintp)

    def generate(context: Any, builder: Any, sig: Any, arguments: Any) -> Any:
        where, row, pitch, n, rgb = arguments
        c = Code(builder)
        run = _Run(c, _Arrays(builder, where), row, pitch, n)
        ambient, sun = ([run.number(place + k) for k in range(3)] for place in (AMBIENT, SUN_LIGHT))
        with c.steps(n) as i:
            share = c.load(run.plane(SHARE), i)
            itself = share < 0.0
            codes = []
            for k in range(3):
                light = itself.where(1.0, ambient[k] + share * sun[k])
                step = (c.load(run.plane(RED + k), i) * light).least(1.0).greatest(0.0) * float(ENCODE_STEPS) + 0.5
                codes.append(c.gather(run.arrays.encode, step.integer(), BYTE).value)
            first = builder.shuffle_vector(codes[0], codes[1], ir.Constant(ir.VectorType(INT, 16), list(range(16))))
            third = builder.shuffle_vector(codes[2], codes[2], ir.Constant(ir.VectorType(INT, 16), list(range(16))))
            order = [[p, LANES + p, 2 * LANES + p] for p in range(LANES)]
            mixed = ir.Constant(ir.VectorType(INT, 3 * LANES), [k for pixel in order for k in pixel])
            pixels = builder.shuffle_vector(first, third, mixed)
            pointer = builder.inttoptr(builder.add(rgb, builder.mul(i, LONG(3))), pixels.type.as_pointer())
            builder.store(pixels, pointer).align = 1
        return context.get_dummy_value()

    return signature, generate
