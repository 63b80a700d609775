"""Campaigns: many sessions from one file. `docs/generate.md` is the guide.

spec        what a campaign file may say            worlds     from paths to world folders, converting sources
places      areas of a world that share no voxel    dealing    which session gets which world, mission, split
draws       seeded numbers and the plan they give   manifest   the jobs, written once, compared ever after
crew        processes that share a loaded world     recording  one entry of the manifest → one session
outcome     what became of every job                card       split.json and the data set's README
run         all of it in order
"""
