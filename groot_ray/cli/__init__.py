"""The `groot-ray` program: thin commands whose options come from the experiment schema.

`main.COMMANDS` lists every command with the module that holds it; a module is imported only when its command is called.
"""
