"""Text that somebody else wrote (names of layers, metrics, runs, folders) on its way into what we write.

One module for each place where it could do harm, and each the only way there: the eyes and the terminal
(`printable`), names in HDF5 and CSV (`percent`), XML (`xml`), Python (`python`), VTK's arrays
(`array_names`), and the file system (`file_names`). Only the standard library is imported here.
"""
