"""Views: index.json -> a scene -> a ParaView state (.pvsm) and a pvpython script."""
