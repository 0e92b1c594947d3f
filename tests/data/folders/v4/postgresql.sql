CREATE TABLE public.counterfactuals (
    number integer NOT NULL,
    key character varying NOT NULL,
    study character varying NOT NULL,
    perturbation character varying NOT NULL,
    tau double precision NOT NULL,
    picture character varying NOT NULL,
    scores json NOT NULL,
    prediction bytea NOT NULL,
    missed json NOT NULL
);
CREATE SEQUENCE public.counterfactuals_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.counterfactuals_number_seq OWNED BY public.counterfactuals.number;
CREATE TABLE public.decisions (
    number integer NOT NULL,
    id character varying NOT NULL,
    counterfactual character varying NOT NULL,
    verdict character varying NOT NULL,
    reason character varying NOT NULL,
    analyst character varying NOT NULL,
    "time" double precision NOT NULL,
    act character varying DEFAULT ''::character varying NOT NULL,
    kind character varying DEFAULT ''::character varying NOT NULL,
    of character varying DEFAULT ''::character varying NOT NULL,
    label character varying DEFAULT ''::character varying NOT NULL,
    tags json DEFAULT '[]'::json NOT NULL
);
CREATE SEQUENCE public.decisions_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.decisions_number_seq OWNED BY public.decisions.number;
CREATE TABLE public.failures (
    job character varying NOT NULL,
    name character varying NOT NULL,
    message character varying NOT NULL
);
CREATE TABLE public.finished (
    job character varying NOT NULL,
    photo character varying NOT NULL
);
CREATE TABLE public.perturbations (
    key character varying NOT NULL,
    caption character varying NOT NULL,
    edited_caption character varying NOT NULL,
    factor character varying NOT NULL,
    original character varying NOT NULL,
    edit character varying NOT NULL,
    rejected_by json NOT NULL,
    checks json DEFAULT '[]'::json NOT NULL
);
CREATE TABLE public.proposals (
    study character varying NOT NULL,
    "position" integer NOT NULL,
    perturbation character varying NOT NULL
);
CREATE TABLE public.rewordings (
    number integer NOT NULL,
    photo character varying NOT NULL,
    before character varying NOT NULL,
    caption character varying NOT NULL,
    analyst character varying NOT NULL,
    "time" double precision NOT NULL
);
CREATE SEQUENCE public.rewordings_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.rewordings_number_seq OWNED BY public.rewordings.number;
CREATE TABLE public.sets (
    number integer NOT NULL,
    name character varying NOT NULL,
    version integer NOT NULL,
    items json NOT NULL
);
CREATE SEQUENCE public.sets_number_seq
    AS integer
    START WITH 1
    INCREMENT BY 1
    NO MINVALUE
    NO MAXVALUE
    CACHE 1;
ALTER SEQUENCE public.sets_number_seq OWNED BY public.sets.number;
CREATE TABLE public.studies (
    key character varying NOT NULL,
    photo character varying NOT NULL,
    picture character varying NOT NULL,
    name character varying NOT NULL,
    label character varying NOT NULL,
    caption character varying NOT NULL,
    vocabulary character varying NOT NULL,
    prediction bytea NOT NULL,
    reconstruction character varying,
    control bytea,
    created double precision NOT NULL,
    updated double precision NOT NULL
);
CREATE TABLE public.version (
    number integer NOT NULL
);
CREATE TABLE public.vocabularies (
    key character varying NOT NULL,
    classifier character varying NOT NULL,
    labels json NOT NULL
);
ALTER TABLE ONLY public.counterfactuals ALTER COLUMN number SET DEFAULT nextval('public.counterfactuals_number_seq'::regclass);
ALTER TABLE ONLY public.decisions ALTER COLUMN number SET DEFAULT nextval('public.decisions_number_seq'::regclass);
ALTER TABLE ONLY public.rewordings ALTER COLUMN number SET DEFAULT nextval('public.rewordings_number_seq'::regclass);
ALTER TABLE ONLY public.sets ALTER COLUMN number SET DEFAULT nextval('public.sets_number_seq'::regclass);
INSERT INTO public.counterfactuals VALUES (7, '8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372', '96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.3, '937011a5363e1d303fbaf31a5585d52c35cb9dbe4545f19073e205b7cf6e1585', '{"image_similarity": 0.8014858961105347, "source_alignment": 0.9, "edited_alignment": 0.9929099873595759, "directional_similarity": 0.9927423000405986, "prefers_edit": 0.946584963798523}', '\x8ff13f3ecd444f3f36ce3e3b', '[]');
INSERT INTO public.counterfactuals VALUES (1, '77f6424cb1193480d7f195e1e5d99c4e34cacc8caecfd5d52e7cdf8f643c2473', '77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7', 0.3, '849a35ac4ada2e7797e691d8942694aa5d7eb0c9d8fb6937e6e47ec06a0bc089', '{"image_similarity": 0.8188264518976212, "source_alignment": 0.9, "edited_alignment": 0.9916126990226435, "directional_similarity": 0.9913951016247591, "prefers_edit": 0.9325717926025391}', '\x7837553fa289283eaa20263b', '[]');
INSERT INTO public.counterfactuals VALUES (2, '5393822a69cb672d703f5cc0f482d67bc8cbf7b17d855b891ee61e24ac269b93', '77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7', 0.6, 'ac65e998736bb5c0a8fa5b2646527db0f3d273cd72cba31e097dfc133c8e83cf', '{"image_similarity": 0.8996476754546165, "source_alignment": 0.9, "edited_alignment": 0.9554634974138713, "directional_similarity": 0.9533510919447737, "prefers_edit": 0.4831398367881775}', '\xfc83753f61a5193da2ae613b', '[]');
INSERT INTO public.counterfactuals VALUES (3, '7bb015dfaebc9c4f7061ab57039d8f8d95596eb6e87746f499ecc7b67ac1a0d4', '77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 'ed5660c3cfc63bddae9bc936b650c14826f689853048dffb103fea05f04c3fc5', 0.3, 'b674aedb2c1448a05bd389190913dbd0aaddeaa382fbc6e421bb6430a0aa8b11', '{"image_similarity": 0.6861980259418488, "source_alignment": 0.9, "edited_alignment": 0.9435657280892293, "directional_similarity": 0.9434494962065911, "prefers_edit": 1.2249355554580688}', '\x2abf023ed8db583fb18bce3c', '[]');
INSERT INTO public.counterfactuals VALUES (4, 'f2dfa680add4e69a12e80b66a3c18e407fa5d13f39e9e18d0ad0be79f489eba4', '77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 'ed5660c3cfc63bddae9bc936b650c14826f689853048dffb103fea05f04c3fc5', 0.6, '12f26774799bda252c1e3e065262165e238f573a942d1acbeeec767e43145cd3', '{"image_similarity": 0.8166615515947342, "source_alignment": 0.9, "edited_alignment": 0.7446558016744016, "directional_similarity": 0.7438897055002834, "prefers_edit": 0.6728376388549805}', '\xf471403fa439603e64f4ef3c', '[]');
INSERT INTO public.counterfactuals VALUES (5, '1b12094358b646b78c1098bd314eb6cddfa7d38c9c8ccff082096633351efcb3', '339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', 'b9bd0d76fc502c2c1bc59b9de484c38c943b8b60928d939b39ea0d61d1dba2eb', 0.3, '849a35ac4ada2e7797e691d8942694aa5d7eb0c9d8fb6937e6e47ec06a0bc089', '{"image_similarity": 0.8188264518976212, "source_alignment": 0.9, "edited_alignment": 0.9916126990226435, "directional_similarity": 0.9913951016247591, "prefers_edit": 0.9325717926025391}', '\x7837553fa289283eaa20263b', '[]');
INSERT INTO public.counterfactuals VALUES (6, '916b55ef0703bacfff0db449e940cd62e638a565d61a73ccc63939d35d476b4d', '339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', 'b9bd0d76fc502c2c1bc59b9de484c38c943b8b60928d939b39ea0d61d1dba2eb', 0.6, 'ac65e998736bb5c0a8fa5b2646527db0f3d273cd72cba31e097dfc133c8e83cf', '{"image_similarity": 0.8996476754546165, "source_alignment": 0.9, "edited_alignment": 0.9554634974138713, "directional_similarity": 0.9533510919447737, "prefers_edit": 0.4831398367881775}', '\xfc83753f61a5193da2ae613b', '[]');
INSERT INTO public.counterfactuals VALUES (13, '0e59804048aef2558c1e0368b02a06baaf3760769f17df8fda9183668912f967', '415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88', 0.3, '43778b2c58394560d13d3ad9a734f6b1bd8c774d28722d4e38f956f1739fdf0e', '{"image_similarity": 0.9935303665697575, "source_alignment": 0.9, "edited_alignment": 0.9999932121827672, "directional_similarity": 0.5229640952812629, "prefers_edit": -0.07475273720920086}', '\xddc7e53df5c9513f77e88b3d', '["preference for the edited caption -0.075 is not above 0"]');
INSERT INTO public.counterfactuals VALUES (19, '6ab0db6f724ec8c905c57701aaa04c28551764adb9e3097d023c25b2eadd92ca', 'cb10b05b7516154960b896eeadcd00b04008deec96ec1289bf7ca394785d11b6', '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf', 0.3, 'd18fdb5418fd6ca3545fdf2c59932f3aea4ae28416640313329667fd23283fce', '{"image_similarity": 0.48796457052230835, "source_alignment": 0.9, "edited_alignment": 0.9721396516331832, "directional_similarity": 0.972055058299135, "prefers_edit": 1.674027943611145}', '\x6e27fa3e5a5ef23ecdd11b3d', '["image similarity 0.49 is below 0.60"]');
INSERT INTO public.counterfactuals VALUES (14, '0c36c380d089019df8e2541bc49e9ae2f39a9bbc177c109ee403f03c75a68154', '415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88', 0.6, '5e2ec73172c18014300be4912765f7765d20fa00cf5b9569e131fd5d25bd095d', '{"image_similarity": 0.9903543489053845, "source_alignment": 0.9, "edited_alignment": 0.9999845561834788, "directional_similarity": 0.30649263774600916, "prefers_edit": -0.061031187325716024}', '\xf4fee93d50e6503f88ce8e3d', '["preference for the edited caption -0.061 is not above 0"]');
INSERT INTO public.counterfactuals VALUES (15, 'e05a94cc0bd13cbc56a0655ca23f986cb55aaa65aca156e195962cd127864fa3', '01d03b82371e8ef0e65e03e212fc5b7f3f30a557116c21b3af63d823a5aba8e7', '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf', 0.3, '3acbe3ed7f634b852dfd399042b9e999893cfba92b02d538879f89eefe1cb42a', '{"image_similarity": 0.48717308044433594, "source_alignment": 0.9, "edited_alignment": 0.9722428549357914, "directional_similarity": 0.9721625143833466, "prefers_edit": 1.6768195867538451}', '\xd2a1f23eb3e7f93edcb31b3d', '["image similarity 0.49 is below 0.60"]');
INSERT INTO public.counterfactuals VALUES (16, '54c66ff1e3309593a1333180ed844f56bd491c275eb396d9272e48b415de5474', '01d03b82371e8ef0e65e03e212fc5b7f3f30a557116c21b3af63d823a5aba8e7', '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf', 0.6, '06e108ff1c2e963b4716aa50b19132c26a29d263c6d1ed42b71b3a36c9a51c38', '{"image_similarity": 0.7048560082912445, "source_alignment": 0.9, "edited_alignment": 0.8253862658184261, "directional_similarity": 0.824755952214403, "prefers_edit": 0.9225738286972046}', '\x5fca603e5dac6e3e51220c3f', '[]');
INSERT INTO public.counterfactuals VALUES (11, 'e08396be8c119ad458ac22b77c400656f47f54d4b4fa0a3b6eef8862530b2f4e', '415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.3, '937011a5363e1d303fbaf31a5585d52c35cb9dbe4545f19073e205b7cf6e1585', '{"image_similarity": 0.8014858961105347, "source_alignment": 0.9, "edited_alignment": 0.9929099873595759, "directional_similarity": 0.9927423000405986, "prefers_edit": 0.946584963798523}', '\x002adb3e70220a3ffa88043d', '[]');
INSERT INTO public.counterfactuals VALUES (12, 'da12a451e4499622bc47e7cfd7e2976bb557b25923a986776164d6c45c489b7e', '415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.6, 'ef1ac383c1a99d5445050d199dd14997e5d4f7f05c17a033d1b3a92d10256c34', '{"image_similarity": 0.890415757894516, "source_alignment": 0.9, "edited_alignment": 0.9606195271844301, "directional_similarity": 0.9590017156940144, "prefers_edit": 0.48899933099746706}', '\x1da7863e4c33303f5692473d', '[]');
INSERT INTO public.counterfactuals VALUES (8, '9113e0223337c6a9e9bfd91f640247d20df4cc10cdd06589c731e7962d86c78a', '96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.6, 'ef1ac383c1a99d5445050d199dd14997e5d4f7f05c17a033d1b3a92d10256c34', '{"image_similarity": 0.890415757894516, "source_alignment": 0.9, "edited_alignment": 0.9606195271844301, "directional_similarity": 0.9590017156940144, "prefers_edit": 0.48899933099746706}', '\x30cc4f3d09cd713f99199b3b', '[]');
INSERT INTO public.counterfactuals VALUES (9, '45b876435264e33bee06a8ba31ab287d4e1c2144467bc39c314c7aecc385e5db', '96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88', 0.3, '43778b2c58394560d13d3ad9a734f6b1bd8c774d28722d4e38f956f1739fdf0e', '{"image_similarity": 0.9935303665697575, "source_alignment": 0.9, "edited_alignment": 0.9999932121827672, "directional_similarity": 0.5229640952812629, "prefers_edit": -0.07475273720920086}', '\x9be0de3b09817c3fce9ae03b', '["preference for the edited caption -0.075 is not above 0"]');
INSERT INTO public.counterfactuals VALUES (10, '84752e7ea136b2c830a22f8ea37045113fb9e16aa1a456c704ddfa32a7e6a4a6', '96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88', 0.6, '5e2ec73172c18014300be4912765f7765d20fa00cf5b9569e131fd5d25bd095d', '{"image_similarity": 0.9903543489053845, "source_alignment": 0.9, "edited_alignment": 0.9999845561834788, "directional_similarity": 0.30649263774600916, "prefers_edit": -0.061031187325716024}', '\x9df2e83b69567c3f55d9eb3b', '["preference for the edited caption -0.061 is not above 0"]');
INSERT INTO public.counterfactuals VALUES (17, 'bb3b998bcc43fa5bc3d908d113ab57d4aa138c82043b6111ee21b4039501b749', '0630d41d11e0e1836318a9198abf694fded53e1d32f0b5c64df61dcdb85751de', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.3, '92a2bc94d5c5ea8e792a506fd903e01858304f1573e51a2738086494ebbd46e4', '{"image_similarity": 0.8018739968538284, "source_alignment": 0.9, "edited_alignment": 0.9928850964452414, "directional_similarity": 0.9927155325968248, "prefers_edit": 0.9501536130905152}', '\x6a303f3ef3774f3fa2f23b3b', '[]');
INSERT INTO public.counterfactuals VALUES (18, 'c0a25a07b0dcfaea15b08ebfa55fb32658c7ef6904bb642731fbe250053b8bf0', '0630d41d11e0e1836318a9198abf694fded53e1d32f0b5c64df61dcdb85751de', '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 0.6, 'fe17f6247f1b5206371043a026465f31078f5635a00c060567d8eabcb44475f1', '{"image_similarity": 0.8910795822739601, "source_alignment": 0.9, "edited_alignment": 0.9603314201770048, "directional_similarity": 0.9587251560536382, "prefers_edit": 0.4908728837966919}', '\x6f234d3d6e01723fd22d963b', '[]');
INSERT INTO public.counterfactuals VALUES (20, '102650ecf7c7372c005478f7c236389393bedc8b42be1e31cc5cbf6418145626', 'cb10b05b7516154960b896eeadcd00b04008deec96ec1289bf7ca394785d11b6', '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf', 0.6, '46198d487620a5674c63e3281f8ac8a325098bf00bab4a8cd7aacdda937b010f', '{"image_similarity": 0.7052797973155975, "source_alignment": 0.9, "edited_alignment": 0.8255468706509156, "directional_similarity": 0.8249093179087411, "prefers_edit": 0.9211998224258423}', '\x67486f3ee5fc5f3ead2e0c3f', '[]');
INSERT INTO public.counterfactuals VALUES (21, '0e69e1c1da45d8502531d3e414437da0d40cf1e92739ec822a97e829b09f6690', '0620929b7613e8f6eac7622e62541313e4d6a667e19edc716f7da3a0cab0b0a8', 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7', 0.3, '6cf61cbe504b96e4b9ed6dfb6014da514154ab5ef283cfc5cdbd1e488ee4a4f7', '{"image_similarity": 0.8199855834245682, "source_alignment": 0.9, "edited_alignment": 0.9915980406018284, "directional_similarity": 0.9913785662051386, "prefers_edit": 0.9297545194625855}', '\x0a57553fb10e283e044a253b', '[]');
INSERT INTO public.counterfactuals VALUES (22, 'd2e005821b601188c9a1fbb41b79e343f63dc5c30fadb6b9c38d9ba459867ad8', '0620929b7613e8f6eac7622e62541313e4d6a667e19edc716f7da3a0cab0b0a8', 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7', 0.6, '37f93b520af263f26792ed472c3f9e3565e1a22a2011b6731d71bcf8b814e0bf', '{"image_similarity": 0.8998723700642586, "source_alignment": 0.9, "edited_alignment": 0.9554481374047283, "directional_similarity": 0.9533258968234212, "prefers_edit": 0.4814412832260132}', '\xfc9b753f9747183dc7895f3b', '[]');
INSERT INTO public.decisions VALUES (1, 'ada-1-0', '77f6424cb1193480d7f195e1e5d99c4e34cacc8caecfd5d52e7cdf8f643c2473', 'keep', '', 'Ada', 1763800011.5, 'ada-1', '', '', '', '[]');
INSERT INTO public.decisions VALUES (2, 'ada-1-1', '5393822a69cb672d703f5cc0f482d67bc8cbf7b17d855b891ee61e24ac269b93', 'keep', '', 'Ada', 1763800011.75, 'ada-1', '', '', '', '[]');
INSERT INTO public.decisions VALUES (3, 'ada-2-0', '5393822a69cb672d703f5cc0f482d67bc8cbf7b17d855b891ee61e24ac269b93', 'reject', 'the wall is gone', 'Ada', 1763800012, 'ada-2', '', '', '', '[]');
INSERT INTO public.decisions VALUES (4, 'ada-3-0', '8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372', 'keep', '', 'Ada', 1763800012.25, 'ada-3', '', '', '', '[]');
INSERT INTO public.decisions VALUES (5, 'ada-3-1', '9113e0223337c6a9e9bfd91f640247d20df4cc10cdd06589c731e7962d86c78a', 'keep', '', 'Ada', 1763800012.5, 'ada-3', '', '', '', '[]');
INSERT INTO public.decisions VALUES (6, 'ada-4-0', 'e08396be8c119ad458ac22b77c400656f47f54d4b4fa0a3b6eef8862530b2f4e', 'unsure', '', 'Ada', 1763800012.75, 'ada-4', '', '', '', '[]');
INSERT INTO public.decisions VALUES (7, 'grace-5-0', 'bb3b998bcc43fa5bc3d908d113ab57d4aa138c82043b6111ee21b4039501b749', 'keep', '', 'Grace', 1763800013, 'grace-5', '', '', '', '[]');
INSERT INTO public.decisions VALUES (8, 'grace-6-0', '1b12094358b646b78c1098bd314eb6cddfa7d38c9c8ccff082096633351efcb3', 'reject', '', 'Grace', 1763800013.25, 'grace-6', '', '', '', '[]');
INSERT INTO public.decisions VALUES (9, 'grace-7-0', '1b12094358b646b78c1098bd314eb6cddfa7d38c9c8ccff082096633351efcb3', '', '', 'Grace', 1763800013.5, 'grace-7', '', '', '', '[]');
INSERT INTO public.decisions VALUES (10, 'ada-8-0', '916b55ef0703bacfff0db449e940cd62e638a565d61a73ccc63939d35d476b4d', 'keep', '', 'Ada', 1763800013.75, 'ada-8', '', '', '', '[]');
INSERT INTO public.decisions VALUES (11, 'grace-9-0', '77f6424cb1193480d7f195e1e5d99c4e34cacc8caecfd5d52e7cdf8f643c2473', 'reject', '', 'Grace', 1763800014, 'grace-9', '', '', '', '[]');
INSERT INTO public.decisions VALUES (12, 'grace-10-0', '8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372', 'reject', '', 'Grace', 1763800014.25, 'grace-10', '', '', '', '[]');
INSERT INTO public.decisions VALUES (13, 'ada-11-0', '8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372', 'keep', '', 'Ada', 1763800014.5, 'ada-11', 'resolve', '', '', '[]');
INSERT INTO public.decisions VALUES (14, 'ada-12-0', '7bb015dfaebc9c4f7061ab57039d8f8d95596eb6e87746f499ecc7b67ac1a0d4', 'keep', '', 'Ada', 1763800014.75, 'ada-12', '', '', '', '[]');
INSERT INTO public.decisions VALUES (15, 'ada-12-1', 'f2dfa680add4e69a12e80b66a3c18e407fa5d13f39e9e18d0ad0be79f489eba4', 'keep', '', 'Ada', 1763800015, 'ada-12', '', '', '', '[]');
INSERT INTO public.decisions VALUES (16, 'ada-undo-13-0', '7bb015dfaebc9c4f7061ab57039d8f8d95596eb6e87746f499ecc7b67ac1a0d4', '', '', 'Ada', 1763800015.25, 'ada-undo-13', 'undo', 'ada-12', '', '[]');
INSERT INTO public.decisions VALUES (17, 'ada-undo-13-1', 'f2dfa680add4e69a12e80b66a3c18e407fa5d13f39e9e18d0ad0be79f489eba4', '', '', 'Ada', 1763800015.25, 'ada-undo-13', 'undo', 'ada-12', '', '[]');
INSERT INTO public.decisions VALUES (18, 'ada-redo-14-0', '7bb015dfaebc9c4f7061ab57039d8f8d95596eb6e87746f499ecc7b67ac1a0d4', 'keep', '', 'Ada', 1763800015.5, 'ada-redo-14', 'redo', 'ada-12', '', '[]');
INSERT INTO public.decisions VALUES (19, 'ada-redo-14-1', 'f2dfa680add4e69a12e80b66a3c18e407fa5d13f39e9e18d0ad0be79f489eba4', 'keep', '', 'Ada', 1763800015.5, 'ada-redo-14', 'redo', 'ada-12', '', '[]');
INSERT INTO public.decisions VALUES (20, 'ada-15-0', 'e05a94cc0bd13cbc56a0655ca23f986cb55aaa65aca156e195962cd127864fa3', 'reject', '', 'Ada', 1763800015.75, 'ada-15', '', '', '', '[]');
INSERT INTO public.decisions VALUES (21, 'ada-undo-16-0', 'e05a94cc0bd13cbc56a0655ca23f986cb55aaa65aca156e195962cd127864fa3', '', '', 'Ada', 1763800016, 'ada-undo-16', 'undo', 'ada-15', '', '[]');
INSERT INTO public.decisions VALUES (22, 'grace-17-0', '54c66ff1e3309593a1333180ed844f56bd491c275eb396d9272e48b415de5474', 'keep', '', 'Grace', 1763800016.25, 'grace-17', '', '', 'green', '["blurred", "two of them"]');
INSERT INTO public.failures VALUES ('12f5053d2642d89c90f8c2b3f593dc50fade598baf377bcd79f37ac9bd9eb64d', 'blue/dark.png', 'The inversion gave values that are not numbers; try another picture.');
INSERT INTO public.finished VALUES ('12f5053d2642d89c90f8c2b3f593dc50fade598baf377bcd79f37ac9bd9eb64d', 'f28b076b36c7a9902bfa35538a480506a4e2f1f7bd6c2ae1993c8190a0478aaa');
INSERT INTO public.finished VALUES ('12f5053d2642d89c90f8c2b3f593dc50fade598baf377bcd79f37ac9bd9eb64d', 'ff6e53a255fdbe8fab3a74d436eee9c0fc135605ad22119c443ccc70a2c4bca9');
INSERT INTO public.perturbations VALUES ('a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7', 'a photo of a red plane on white', 'a photo of a red plane on yellow', 'background', 'on white', 'on yellow', '[]', '[]');
INSERT INTO public.perturbations VALUES ('ed5660c3cfc63bddae9bc936b650c14826f689853048dffb103fea05f04c3fc5', 'a photo of a red plane on white', 'a photo of a red plane beside green', 'object', 'on white', 'beside green', '[]', '[]');
INSERT INTO public.perturbations VALUES ('b9bd0d76fc502c2c1bc59b9de484c38c943b8b60928d939b39ea0d61d1dba2eb', 'a red wall on white', 'a red wall on yellow', 'background', 'on white', 'on yellow', '[]', '[]');
INSERT INTO public.perturbations VALUES ('763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e', 'a photo of a green plane on white', 'a photo of a green plane on yellow', 'background', 'on white', 'on yellow', '[]', '[]');
INSERT INTO public.perturbations VALUES ('361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88', 'a photo of a green plane on white', 'a photo of a green plane beside green', 'object', 'on white', 'beside green', '[]', '[]');
INSERT INTO public.perturbations VALUES ('87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf', 'a photo of a blue plane on white', 'a photo of a blue plane on yellow', 'background', 'on white', 'on yellow', '[]', '[]');
INSERT INTO public.perturbations VALUES ('d44377ac2c0221ae973089a21c444d8b8b4f999f91c165b4e7cb5dc0aad877ae', 'a red wall on white', 'a red wall on yellow', 'background', 'on white', 'on yellow', '["You rejected it."]', '[]');
INSERT INTO public.perturbations VALUES ('7567ce892e2daaf3f9795724200829c6ec042e2c3aa3d83d7408eeb7c0a834d4', 'a red wall on white', 'a red wall beside green', 'object', 'on white', 'beside green', '[]', '[]');
INSERT INTO public.perturbations VALUES ('1e2b2b5d6ebe808dd1edf36df6db33ff49f4c57fd5daeaf5cdae7997db145471', 'a red wall on white', 'a red wall under blue', 'subject', 'on white', 'under blue', '["The gate of the test objects: 0.1 is below 0.2."]', '[]');
INSERT INTO public.proposals VALUES ('77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 0, 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7');
INSERT INTO public.proposals VALUES ('77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', 1, 'ed5660c3cfc63bddae9bc936b650c14826f689853048dffb103fea05f04c3fc5');
INSERT INTO public.proposals VALUES ('415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', 0, '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e');
INSERT INTO public.proposals VALUES ('415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', 1, '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88');
INSERT INTO public.proposals VALUES ('96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', 0, '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e');
INSERT INTO public.proposals VALUES ('96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', 1, '361f3307a9cb8c196ae8bf56ef86bb28fe7939fe72a970e6c4a367829ecd7c88');
INSERT INTO public.proposals VALUES ('01d03b82371e8ef0e65e03e212fc5b7f3f30a557116c21b3af63d823a5aba8e7', 0, '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf');
INSERT INTO public.proposals VALUES ('0630d41d11e0e1836318a9198abf694fded53e1d32f0b5c64df61dcdb85751de', 0, '763e243d8175c318e9824deb3ea26876aee0a2d170e9bf5e0ac3576680eb6b7e');
INSERT INTO public.proposals VALUES ('339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', 0, 'd44377ac2c0221ae973089a21c444d8b8b4f999f91c165b4e7cb5dc0aad877ae');
INSERT INTO public.proposals VALUES ('339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', 1, '7567ce892e2daaf3f9795724200829c6ec042e2c3aa3d83d7408eeb7c0a834d4');
INSERT INTO public.proposals VALUES ('339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', 2, '1e2b2b5d6ebe808dd1edf36df6db33ff49f4c57fd5daeaf5cdae7997db145471');
INSERT INTO public.proposals VALUES ('cb10b05b7516154960b896eeadcd00b04008deec96ec1289bf7ca394785d11b6', 0, '87b4742f2c95cb95da13379c262f3e0a2d9a433d35f28131bd29fdbc78727bcf');
INSERT INTO public.proposals VALUES ('0620929b7613e8f6eac7622e62541313e4d6a667e19edc716f7da3a0cab0b0a8', 0, 'a08ca064d43b5c7c3746d3eabdffa84a9b57ad43e2b8e8b10ea31ac3cc6a26f7');
INSERT INTO public.rewordings VALUES (1, '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', 'a photo of a red plane on white', 'a red wall on white', 'Ada', 1763800016.5);
INSERT INTO public.rewordings VALUES (2, '224f00b3ba5b9f3d38d14acf858940b18400ad803bbf74878bc985244565d863', '', 'a photo of a green plane on white', '', 1763800016.75);
INSERT INTO public.sets VALUES (1, 'robust', 1, '["77f6424cb1193480d7f195e1e5d99c4e34cacc8caecfd5d52e7cdf8f643c2473", "8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372", "9113e0223337c6a9e9bfd91f640247d20df4cc10cdd06589c731e7962d86c78a", "bb3b998bcc43fa5bc3d908d113ab57d4aa138c82043b6111ee21b4039501b749"]');
INSERT INTO public.sets VALUES (2, 'robust', 2, '["77f6424cb1193480d7f195e1e5d99c4e34cacc8caecfd5d52e7cdf8f643c2473", "916b55ef0703bacfff0db449e940cd62e638a565d61a73ccc63939d35d476b4d", "8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372", "9113e0223337c6a9e9bfd91f640247d20df4cc10cdd06589c731e7962d86c78a", "bb3b998bcc43fa5bc3d908d113ab57d4aa138c82043b6111ee21b4039501b749"]');
INSERT INTO public.sets VALUES (3, 'labelled', 1, '["7bb015dfaebc9c4f7061ab57039d8f8d95596eb6e87746f499ecc7b67ac1a0d4", "f2dfa680add4e69a12e80b66a3c18e407fa5d13f39e9e18d0ad0be79f489eba4", "916b55ef0703bacfff0db449e940cd62e638a565d61a73ccc63939d35d476b4d", "8b3a340955876281220ea5bfeab5b7c8780402fcf1348bd821b7cdcc3aab9372", "9113e0223337c6a9e9bfd91f640247d20df4cc10cdd06589c731e7962d86c78a", "54c66ff1e3309593a1333180ed844f56bd491c275eb396d9272e48b415de5474", "bb3b998bcc43fa5bc3d908d113ab57d4aa138c82043b6111ee21b4039501b749"]');
INSERT INTO public.studies VALUES ('297826f4f222d1d37d3de29abc81a0630492d0b45b3603d681893673f9be8d8a', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', 'red-1.png', 'red', '', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x7f177e3f2be1743b549f733b', NULL, NULL, 1763800000.25, 1763800000.25);
INSERT INTO public.studies VALUES ('77b1ada33602cf82b9c0c7c2af450ac27c2e884e9cbd7856bba39017858a842a', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', 'red-1.png', 'red', 'a photo of a red plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x7f177e3f2be1743b549f733b', '75f37d3ee6c2bb42eb3aca5a9f8b0de5b1b84cc3102c22e8af4885ee12fa2fc2', '\x23b97d3faf29923b1e45913b', 1763800000.5, 1763800002);
INSERT INTO public.studies VALUES ('e017fd969310d6fc97ed800bf6bf39d5a10a3d50a73fc88e251bf40440ec0bab', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'green-2.png', 'green', '', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\xf227d33b03aa7c3fd5d6d73b', NULL, NULL, 1763800003.5, 1763800003.5);
INSERT INTO public.studies VALUES ('9ed122b0d4bbee78eba784f45aa9196f14ee790fc130e2c642031d6bbe3c2335', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'green-2.png', 'green', '', 'c91d47ca352d85beae008c5c2cb21f4d6490f8c052702eb4dfbfe4b4a4e02a69', '\x8b92e03de4b6523f57b6893d', NULL, NULL, 1763800005.5, 1763800005.5);
INSERT INTO public.studies VALUES ('415f81739f4df777b954af96e58ca97c4102e452f7a5110e3032f4a6c77622e4', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'green-2.png', 'green', 'a photo of a green plane on white', 'c91d47ca352d85beae008c5c2cb21f4d6490f8c052702eb4dfbfe4b4a4e02a69', '\x8b92e03de4b6523f57b6893d', '18fd37404d0436759a6e9e2e8ec3f8dfe3a3fffd1b6fbd9c212ecd5fa2ca5245', '\x3482ef3d43b34f3fb0e3923d', 1763800005.75, 1763800007.25);
INSERT INTO public.studies VALUES ('96dc04825b4e2ebee4db346aea3350e0d0fa77fd3179fca28b6c2ca97cc94e57', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'b85e8a97240a188344c63412ede20a88e9d726850ccc250457bfbe396bc72e58', 'green-2.png', 'blue', 'a photo of a green plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\xf227d33b03aa7c3fd5d6d73b', '18fd37404d0436759a6e9e2e8ec3f8dfe3a3fffd1b6fbd9c212ecd5fa2ca5245', '\x75a6f63b561a7c3fb22efc3b', 1763800003.75, 1763800007.5);
INSERT INTO public.studies VALUES ('f370afd812129dadc63052e9505b41d6ae129c4641d3d51841a4cdeca9814c04', '682cc411ac4e9856affc67b841e002ab955dbea26d4795d0390c2f46c54b4670', '682cc411ac4e9856affc67b841e002ab955dbea26d4795d0390c2f46c54b4670', 'blue-3.png', 'blue', '', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\xe0c15e3bcbb2763b8b2a7e3f', NULL, NULL, 1763800007.75, 1763800007.75);
INSERT INTO public.studies VALUES ('01d03b82371e8ef0e65e03e212fc5b7f3f30a557116c21b3af63d823a5aba8e7', '682cc411ac4e9856affc67b841e002ab955dbea26d4795d0390c2f46c54b4670', '682cc411ac4e9856affc67b841e002ab955dbea26d4795d0390c2f46c54b4670', 'blue-3.png', 'red', 'a photo of a blue plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\xe0c15e3bcbb2763b8b2a7e3f', '99f3830ca24958bdcb9169a988cb658f8f8fb0eefd59b860d11da6badd640d05', '\xa16b853b7053933b82ce7d3f', 1763800008, 1763800009.25);
INSERT INTO public.studies VALUES ('1b5bb7e2a5a2a94008c4bd371ccdf0fce3c6bdabde6c4b3bfcd662cc0b7a0488', '94ec4b46e844c5849ddbf5b8a47c20b0c622462c22ffaa395fd5f41c04217858', '94ec4b46e844c5849ddbf5b8a47c20b0c622462c22ffaa395fd5f41c04217858', 'red-4.png', 'red', '', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x732f7e3f98c4623b28c86d3b', NULL, NULL, 1763800009.5, 1763800009.5);
INSERT INTO public.studies VALUES ('79f4ee34f8847495d44d14b7001ce3dd3ccd0fcf77a633d79a12a6ef8e7cc5b5', '224f00b3ba5b9f3d38d14acf858940b18400ad803bbf74878bc985244565d863', '224f00b3ba5b9f3d38d14acf858940b18400ad803bbf74878bc985244565d863', 'green-5.png', 'green', '', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x284dce3b6bcb7c3f10fdcb3b', NULL, NULL, 1763800009.75, 1763800009.75);
INSERT INTO public.studies VALUES ('0630d41d11e0e1836318a9198abf694fded53e1d32f0b5c64df61dcdb85751de', '224f00b3ba5b9f3d38d14acf858940b18400ad803bbf74878bc985244565d863', '224f00b3ba5b9f3d38d14acf858940b18400ad803bbf74878bc985244565d863', 'green-5.png', 'green', 'a photo of a green plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x284dce3b6bcb7c3f10fdcb3b', '590aedc12c34dfef098e399642a7ab52d45c04078a50dadb76a6ee2a6ba0993e', '\xb50ef13bb5407c3fb296ee3b', 1763800010, 1763800011);
INSERT INTO public.studies VALUES ('339fb699574bf9913919487c8994740421d3c89bb96b64de0ec6945ebcf0091a', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', '782f3e33639d9889660459561b5c6718c07c34ecdfef7448dd8210341a84d4cb', 'red-1.png', 'red', 'a red wall on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x7f177e3f2be1743b549f733b', '75f37d3ee6c2bb42eb3aca5a9f8b0de5b1b84cc3102c22e8af4885ee12fa2fc2', '\x23b97d3faf29923b1e45913b', 1763800002.25, 1763800011.25);
INSERT INTO public.studies VALUES ('cb10b05b7516154960b896eeadcd00b04008deec96ec1289bf7ca394785d11b6', 'f28b076b36c7a9902bfa35538a480506a4e2f1f7bd6c2ae1993c8190a0478aaa', 'f28b076b36c7a9902bfa35538a480506a4e2f1f7bd6c2ae1993c8190a0478aaa', 'blue/7.png', 'blue', 'a photo of a blue plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\xdde1773bd3045d3b192b7e3f', 'b59fcb49e7b3fd755cbeb467e8437d00d8a317791fc923ddfda3d61b61d9c62b', '\xf2ec933b5544843b9dcf7d3f', 1763800017, 1763800017);
INSERT INTO public.studies VALUES ('0620929b7613e8f6eac7622e62541313e4d6a667e19edc716f7da3a0cab0b0a8', 'ff6e53a255fdbe8fab3a74d436eee9c0fc135605ad22119c443ccc70a2c4bca9', 'ff6e53a255fdbe8fab3a74d436eee9c0fc135605ad22119c443ccc70a2c4bca9', 'red/6.png', 'red', 'a photo of a red plane on white', '82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', '\x311f7e3fb44d713b9d816f3b', 'e57128ee6c467aa99580cb7b57877a9a7d9764ee74979401be9a7e3d6076809e', '\xd8c17d3f7115903b3dfe8e3b', 1763800017.5, 1763800017.5);
INSERT INTO public.version VALUES (4);
INSERT INTO public.vocabularies VALUES ('82e03d3d425858fff42e36506c02879bef4a4522f8f61f4da5614b67f267ee91', 'colour', '["red", "green", "blue"]');
INSERT INTO public.vocabularies VALUES ('c91d47ca352d85beae008c5c2cb21f4d6490f8c052702eb4dfbfe4b4a4e02a69', 'other', '["red", "green", "blue"]');
SELECT pg_catalog.setval('public.counterfactuals_number_seq', 22, true);
SELECT pg_catalog.setval('public.decisions_number_seq', 22, true);
SELECT pg_catalog.setval('public.rewordings_number_seq', 2, true);
SELECT pg_catalog.setval('public.sets_number_seq', 3, true);
ALTER TABLE ONLY public.counterfactuals
    ADD CONSTRAINT counterfactuals_key_key UNIQUE (key);
ALTER TABLE ONLY public.counterfactuals
    ADD CONSTRAINT counterfactuals_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_id_key UNIQUE (id);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.failures
    ADD CONSTRAINT failures_pkey PRIMARY KEY (job, name);
ALTER TABLE ONLY public.finished
    ADD CONSTRAINT finished_pkey PRIMARY KEY (job, photo);
ALTER TABLE ONLY public.perturbations
    ADD CONSTRAINT perturbations_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.proposals
    ADD CONSTRAINT proposals_pkey PRIMARY KEY (study, "position");
ALTER TABLE ONLY public.rewordings
    ADD CONSTRAINT rewordings_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.sets
    ADD CONSTRAINT sets_name_version_key UNIQUE (name, version);
ALTER TABLE ONLY public.sets
    ADD CONSTRAINT sets_pkey PRIMARY KEY (number);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_pkey PRIMARY KEY (key);
ALTER TABLE ONLY public.vocabularies
    ADD CONSTRAINT vocabularies_pkey PRIMARY KEY (key);
CREATE INDEX ix_counterfactuals_study ON public.counterfactuals USING btree (study);
CREATE INDEX ix_rewordings_photo ON public.rewordings USING btree (photo);
CREATE INDEX ix_studies_photo ON public.studies USING btree (photo);
CREATE INDEX ix_studies_updated ON public.studies USING btree (updated);
ALTER TABLE ONLY public.counterfactuals
    ADD CONSTRAINT counterfactuals_perturbation_fkey FOREIGN KEY (perturbation) REFERENCES public.perturbations(key);
ALTER TABLE ONLY public.counterfactuals
    ADD CONSTRAINT counterfactuals_study_fkey FOREIGN KEY (study) REFERENCES public.studies(key);
ALTER TABLE ONLY public.decisions
    ADD CONSTRAINT decisions_counterfactual_fkey FOREIGN KEY (counterfactual) REFERENCES public.counterfactuals(key);
ALTER TABLE ONLY public.proposals
    ADD CONSTRAINT proposals_perturbation_fkey FOREIGN KEY (perturbation) REFERENCES public.perturbations(key);
ALTER TABLE ONLY public.proposals
    ADD CONSTRAINT proposals_study_fkey FOREIGN KEY (study) REFERENCES public.studies(key);
ALTER TABLE ONLY public.studies
    ADD CONSTRAINT studies_vocabulary_fkey FOREIGN KEY (vocabulary) REFERENCES public.vocabularies(key);
