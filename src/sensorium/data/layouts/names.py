"""What the classes of the published sets are called, in the order of their numbers."""

VOC = (
    *("background", "aeroplane", "bicycle", "bird", "boat", "bottle", "bus", "car", "cat", "chair", "cow"),
    *("diningtable", "dog", "horse", "motorbike", "person", "pottedplant", "sheep", "sofa", "train", "tvmonitor"),
)
CITYSCAPES = (
    *("road", "sidewalk", "building", "wall", "fence", "pole", "traffic light", "traffic sign", "vegetation"),
    *("terrain", "sky", "person", "rider", "car", "truck", "bus", "train", "motorcycle", "bicycle"),
)
CITYSCAPES_IDS = (7, 8, 11, 12, 13, 17, 19, 20, 21, 22, 23, 24, 25, 26, 27, 28, 31, 32, 33)
"""The number in *_labelIds.png of each class above; all others are ignored (cityscapesScripts, helpers/labels.py)."""

_ADE20K = """
wall building sky floor tree ceiling road bed windowpane grass cabinet sidewalk person earth door table
mountain plant curtain chair car water painting sofa shelf house sea mirror rug field armchair seat fence desk
rock wardrobe lamp bathtub railing cushion base box column signboard chest_of_drawers counter sand sink
skyscraper fireplace refrigerator grandstand path stairs runway case pool_table pillow screen_door stairway
river bridge bookcase blind coffee_table toilet flower book hill bench countertop stove palm kitchen_island
computer swivel_chair boat bar arcade_machine hovel bus towel light truck tower chandelier awning streetlight
booth television_receiver airplane dirt_track apparel pole land bannister escalator ottoman bottle buffet
poster stage van ship fountain conveyer_belt canopy washer plaything swimming_pool stool barrel basket
waterfall tent bag minibike cradle oven ball food step tank trade_name microwave pot animal bicycle lake
dishwasher screen blanket sculpture hood sconce vase traffic_light tray ashcan fan pier crt_screen plate
monitor bulletin_board shower radiator glass clock flag
"""
ADE20K = tuple(name.replace("_", " ") for name in _ADE20K.split())
