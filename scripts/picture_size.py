"""Make a layout as large as its picture, its text and lines in proportion; for programs under pvpython."""

from paraview.simple import GetViews

# The window that views are laid out for.
WIDTH, HEIGHT = 1280, 720


def set_size(layout, size):
    """Give `layout` the size of its picture.

    ParaView can enlarge a smaller window instead, but then makes the text of charts and captions twice as
    large where half as much again is wanted, and that of axes not at all.
    """
    layout.SetSize(*size)
    factor = min(size[0] / WIDTH, size[1] / HEIGHT)
    if factor == 1:
        return
    proxies = list(GetViews())
    proxies += [view.AxesGrid for view in proxies if view.GetProperty("AxesGrid") is not None]
    for view in GetViews():
        proxies += list(view.Representations)
    for proxy in proxies:
        for name in proxy.ListProperties():
            if name.endswith("FontSize"):
                proxy.SetPropertyWithName(name, max(6, round(proxy.GetPropertyValue(name) * factor)))
            elif name in ("LineWidth", "PointSize"):
                proxy.SetPropertyWithName(name, proxy.GetPropertyValue(name) * factor)
