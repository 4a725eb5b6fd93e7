/* A plug-in from the future. */
#include <backhand/plugin.h>

const backhand_plugin backhand_this_plugin = {
    BACKHAND_PLUGIN_ABI + 1, sizeof(backhand_plugin), "later", 0, 0, 0, 0, 0, 0};
